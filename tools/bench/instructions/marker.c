/* Two marks for callgrind: what runs between them is counted.
 *
 * valgrind --tool=callgrind --collect-atstart=no; without valgrind they are
 * no-ops.
 */
#include <valgrind/callgrind.h>

void edgestem_mark(void);

void edgestem_mark(void)
{
    CALLGRIND_TOGGLE_COLLECT;
}
