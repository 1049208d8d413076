/* Works in the shared library for argument 1 ms of CPU time. */
#include <stdlib.h>

void library_entry(long long ns);

int main(int count, char **arguments)
{
	library_entry(atoi(count > 1 ? arguments[1] : "200") * 1000000LL);
	return 0;
}
