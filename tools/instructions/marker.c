/* What callgrind is told to count: everything below this function.
 *
 * valgrind --tool=callgrind --toggle-collect=edgestem_measured
 */
void edgestem_measured(void (*work)(void));

void edgestem_measured(void (*work)(void))
{
    work();
}
