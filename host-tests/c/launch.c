/* launch PRELOAD PROGRAM [ARG]...: runs PROGRAM and prints "maxrss KIB".
 *
 * The kernel's peak of a process includes what it held before exec. This
 * launcher is linked statically and holds less than any program it starts,
 * so what it prints is the program's own. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    int status;
    struct rusage usage;
    pid_t pid;

    if (argc < 3)
        return 2;
    pid = fork();
    if (pid == 0) {
        if (argv[1][0] != '\0')
            setenv("LD_PRELOAD", argv[1], 1);
        execv(argv[2], argv + 2);
        _exit(127);
    }
    if (pid < 0 || wait4(pid, &status, 0, &usage) != pid)
        return 3;
    fprintf(stderr, "maxrss %ld\n", usage.ru_maxrss);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 4;
}
