/* A plugin for qemu-user that counts instructions between marks.
 *
 * A mark is the system call getppid: the program calls it before and behind the
 * part that is measured, and at each one the count so far goes to stderr.  One
 * thread; the declarations are the plugin API's (version 1, QEMU 4.2 and newer)
 * as its manual gives them.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define VISIBLE __attribute__((visibility("default")))

enum { INLINE_ADD_U64 = 0 };
enum { GETPPID_AARCH64 = 173, GETPPID_ARM = 64, GETPPID_X86_64 = 110 };

struct qemu_plugin_tb;

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
void qemu_plugin_register_vcpu_tb_trans_cb(
    uint64_t id, void (*cb)(uint64_t id, struct qemu_plugin_tb *tb));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *tb, int op,
                                              void *pointer, uint64_t value);
void qemu_plugin_register_vcpu_syscall_cb(
    uint64_t id,
    void (*cb)(uint64_t id, unsigned vcpu, int64_t number, uint64_t a1,
               uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5, uint64_t a6,
               uint64_t a7, uint64_t a8));

VISIBLE int qemu_plugin_version = 1;
VISIBLE int qemu_plugin_install(uint64_t id, const void *info, int argc,
                                char **argv);

static uint64_t count;
static int64_t mark;

static void translate(uint64_t id, struct qemu_plugin_tb *tb)
{
    (void)id;
    qemu_plugin_register_vcpu_tb_exec_inline(tb, INLINE_ADD_U64, &count,
                                             qemu_plugin_tb_n_insns(tb));
}

static void system_call(uint64_t id, unsigned vcpu, int64_t number, uint64_t a1,
                        uint64_t a2, uint64_t a3, uint64_t a4, uint64_t a5,
                        uint64_t a6, uint64_t a7, uint64_t a8)
{
    (void)id, (void)vcpu, (void)a1, (void)a2, (void)a3, (void)a4;
    (void)a5, (void)a6, (void)a7, (void)a8;
    if (number == mark) {
        fprintf(stderr, "@instructions %" PRIu64 "\n", count);
    }
}

int qemu_plugin_install(uint64_t id, const void *info, int argc, char **argv)
{
    (void)argc, (void)argv;
    const char *target = *(const char *const *)info; /* its first field */
    mark = target[0] == 'a' && target[1] == 'a' ? GETPPID_AARCH64
           : target[0] == 'a'                   ? GETPPID_ARM
                                                : GETPPID_X86_64;
    qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
    qemu_plugin_register_vcpu_syscall_cb(id, system_call);
    return 0;
}
