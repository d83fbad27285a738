/* Separate a file with the daemon: separate SOCKET SONG VOCALS INSTRUMENTAL
 *
 *     cc -o separate separate.c
 *
 * The three files are opened here and passed as descriptors, so the daemon needs no
 * right to any path.  Prints each answer of the daemon; exit status 0 means done.
 */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { N_FDS = 3, MAX_HEADER = 4096 };

static int fail(const char *what)
{
    perror(what);
    return 1;
}

/* Connects to the daemon; returns a descriptor or -1. */
static int dial(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (fd < 0 || strlen(path) >= sizeof address.sun_path)
        return -1;
    strcpy(address.sun_path, path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

/* Sends a header line and the descriptors that belong to it. */
static int ask(int daemon, const char *line, const int *fds)
{
    union {
        struct cmsghdr header; /* for its alignment */
        char room[CMSG_SPACE(N_FDS * sizeof(int))];
    } control = { 0 };
    struct iovec data = { (void *)line, strlen(line) };
    struct msghdr message = {
        .msg_iov = &data,
        .msg_iovlen = 1,
        .msg_control = control.room,
        .msg_controllen = sizeof control.room,
    };
    struct cmsghdr *passed = CMSG_FIRSTHDR(&message);

    passed->cmsg_level = SOL_SOCKET;
    passed->cmsg_type = SCM_RIGHTS;
    passed->cmsg_len = CMSG_LEN(N_FDS * sizeof(int));
    memcpy(CMSG_DATA(passed), fds, N_FDS * sizeof(int));
    return sendmsg(daemon, &message, 0) == (ssize_t)strlen(line) ? 0 : -1;
}

/* Reads one header line, without its newline; answers to jobs have no payload. */
static int receive(int daemon, char *line)
{
    size_t n = 0;

    while (n < MAX_HEADER && read(daemon, line + n, 1) == 1) {
        if (line[n] == '\n') {
            line[n] = '\0';
            return 0;
        }
        n++;
    }
    return -1;
}

int main(int argc, char **argv)
{
    static const int modes[N_FDS] = {
        O_RDONLY, O_RDWR | O_CREAT | O_TRUNC, O_RDWR | O_CREAT | O_TRUNC
    };
    char line[MAX_HEADER + 1];
    int fds[N_FDS];
    int daemon;

    if (argc != 5) {
        fprintf(stderr, "usage: separate SOCKET SONG VOCALS INSTRUMENTAL\n");
        return 2;
    }
    /* Before the outputs are emptied: perhaps nobody is there. */
    daemon = dial(argv[1]);
    if (daemon < 0)
        return fail(argv[1]);
    for (int i = 0; i < N_FDS; i++) {
        fds[i] = open(argv[2 + i], modes[i] | O_CLOEXEC, 0666);
        if (fds[i] < 0)
            return fail(argv[2 + i]);
    }
    if (ask(daemon, "{\"type\":\"separate\",\"fds\":3}\n", fds) < 0)
        return fail("asking");
    while (receive(daemon, line) == 0) {
        puts(line);
        if (strncmp(line, "{\"type\":\"done\"", 14) == 0)
            return 0;
        if (strncmp(line, "{\"type\":\"error\"", 15) == 0)
            return 1;
    }
    fprintf(stderr, "the daemon hung up\n");
    return 1;
}
