// What the plugin of the tests has in place of what is fixed when it is built: the test makes it. How a site's files are opened is tested
// elsewhere, and valgrind does not know the system call.
#pragma once
#undef SHIFTER_PROGRAM
#define SHIFTER_PROGRAM standin_shifter
#define site_load standin_site_load
extern const char standin_shifter[];
