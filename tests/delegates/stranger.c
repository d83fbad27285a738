/* A shared library that is no delegate at all. */
int edgestem_test_stranger(void);

int edgestem_test_stranger(void)
{
    return 0;
}
