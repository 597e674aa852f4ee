/* What native code does to its process when it goes wrong: tests/it/catalogue/misdeeds.rs calls it in a worker.
 *
 * Compiled without optimisation, since a compiler may make something else of undefined behaviour. What is
 * read through `volatile` is not known to it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int misdeed(const char *name);

static void *volatile nowhere = 0;

static int null_write(void)
{
    *(volatile int *)nowhere = 1;
    return 0;
}

static int null_call(void)
{
    void (*volatile function)(void) = (void (*)(void))(uintptr_t)nowhere;
    function();
    return 0;
}

static int write_to_code(void)
{
    *(volatile char *)(uintptr_t)misdeed = 0;
    return 0;
}

/* A file that somebody else has cut off. */
static int truncated_mapping(void)
{
    int file = memfd_create("cut off", MFD_CLOEXEC);
    if (file < 0 || ftruncate(file, 4096) != 0)
        return -1;
    volatile char *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page == MAP_FAILED || ftruncate(file, 0) != 0)
        return -1;
    page[17] = 1;
    return 0;
}

static int illegal_instruction(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __asm__ volatile("ud2");
#elif defined(__aarch64__)
    __asm__ volatile("udf #0");
#endif
    signal(SIGILL, SIG_DFL);
    raise(SIGILL);
    return 0;
}

static int division_by_zero(void)
{
    volatile int zero = 0;
    volatile int quotient = 1 / zero;
    /* There are processors to which this is zero. */
    signal(SIGFPE, SIG_DFL);
    raise(SIGFPE);
    return quotient;
}

static int overflow(volatile int depth)
{
    volatile char page[4096];
    page[depth % 4096] = 1;
    return overflow(depth + 1) + page[1];
}

static int stack_overflow(void)
{
    return overflow(0);
}

static int double_free(void)
{
    char *volatile block = malloc(24);
    free(block);
    free(block);
    abort();
}

static int heap_overflow(void)
{
    char *volatile block = malloc(40);
    memset(block, 0x41, 3000);
    for (size_t size = 16; size < 1 << 20; size *= 2)
        free(malloc(size));
    free(block);
    /* An allocator that has not noticed. */
    abort();
}

static int use_after_free(void)
{
    char *volatile block = malloc(40);
    char *volatile other = malloc(40);
    free(other);
    free(block);
    memset(block, 0x41, 40);
    for (int turn = 0; turn < 3; turn++)
        memset(malloc(40), 0x42, 40);
    abort();
}

static int smashed_stack(void)
{
    char small[8];
    char *volatile beyond = small;
    memset(beyond, 0x41, 200);
    return small[0];
}

static void *null_write_in_a_thread(void *unused)
{
    null_write();
    return unused;
}

static void *exit_in_a_thread(void *unused)
{
    exit(42);
    return unused;
}

static int in_a_thread(void *(*function)(void *))
{
    pthread_t thread;
    if (pthread_create(&thread, 0, function, 0) != 0)
        return -1;
    pthread_join(thread, 0);
    return 0;
}

static int kill_own_group(void)
{
    return kill(0, SIGKILL);
}

static int become_another_program(void)
{
    char *arguments[] = {"true", 0};
    return execv("/bin/true", arguments);
}

/* The process goes on, with its other threads. */
static int end_the_thread(void)
{
    return (int)syscall(SYS_exit, 0);
}

static int out_of_cpu_time(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    struct rlimit limit = {(rlim_t)used.ru_utime.tv_sec + (rlim_t)used.ru_stime.tv_sec + 1, RLIM_INFINITY};
    setrlimit(RLIMIT_CPU, &limit);
    for (volatile unsigned long turns = 0;; turns++)
        ;
}

/* Code that does not look at what malloc answers. */
static int out_of_address_space(void)
{
    struct rlimit limit = {1 << 20, 1 << 20};
    setrlimit(RLIMIT_AS, &limit);
    *(volatile char *)malloc(1 << 30) = 1;
    return 0;
}

static int infinite_loop(void)
{
    for (volatile unsigned long turns = 0;; turns++)
        ;
}

static int deadlock(void)
{
    static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&mutex);
    pthread_mutex_lock(&mutex);
    return 0;
}

static int ignore_every_signal(void)
{
    sigset_t all;
    for (int number = 1; number < 32; number++)
        signal(number, SIG_IGN);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, 0);
    for (;;)
        pause();
}

static void wait_for_ever(void)
{
    for (;;)
        pause();
}

static int hang_at_exit(void)
{
    return atexit(wait_for_ever);
}

static int stop_itself(void)
{
    return raise(SIGSTOP);
}

/* The child runs on as if it were the worker. */
static int fork_and_return(void)
{
    return fork() < 0 ? -1 : 7;
}

/* Forks a child that holds whatever the worker holds, in a session of its own. The answer is its process id. */
static int fork_and_stay(void)
{
    int ends[2];
    char word = 0;
    if (pipe(ends) != 0)
        return -1;
    int child = fork();
    if (child == 0) {
        setsid();
        if (write(ends[1], "x", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    /* Until then it would die with the worker's group. */
    if (child < 0 || read(ends[0], &word, 1) != 1)
        return -1;
    close(ends[0]);
    close(ends[1]);
    return child;
}

static int close_everything(void)
{
    for (int file = 0; file < 1024; file++)
        close(file);
    return 7;
}

static int close_sockets(void)
{
    for (int file = 3; file < 1024; file++) {
        int type;
        socklen_t length = sizeof(type);
        if (getsockopt(file, SOL_SOCKET, SO_TYPE, &type, &length) == 0)
            close(file);
    }
    return 7;
}

static int unwind_the_thread(void)
{
    pthread_exit(0);
}

/* Within its own frames, as error handling of C libraries does. */
static int long_jump(void)
{
    static jmp_buf place;
    if (setjmp(place) == 0)
        longjmp(place, 1);
    return 7;
}

int misdeed(const char *name)
{
    static const struct {
        const char *name;
        int (*function)(void);
    } all[] = {
        {"null write", null_write},
        {"null call", null_call},
        {"write to code", write_to_code},
        {"truncated mapping", truncated_mapping},
        {"illegal instruction", illegal_instruction},
        {"division by zero", division_by_zero},
        {"stack overflow", stack_overflow},
        {"double free", double_free},
        {"heap overflow", heap_overflow},
        {"use after free", use_after_free},
        {"smashed stack", smashed_stack},
        {"kill own group", kill_own_group},
        {"become another program", become_another_program},
        {"end the thread", end_the_thread},
        {"unwind the thread", unwind_the_thread},
        {"out of CPU time", out_of_cpu_time},
        {"out of address space", out_of_address_space},
        {"infinite loop", infinite_loop},
        {"deadlock", deadlock},
        {"ignore every signal", ignore_every_signal},
        {"hang at exit", hang_at_exit},
        {"stop itself", stop_itself},
        {"fork and return", fork_and_return},
        {"fork and stay", fork_and_stay},
        {"close everything", close_everything},
        {"close sockets", close_sockets},
        {"long jump", long_jump},
    };
    for (size_t one = 0; one < sizeof(all) / sizeof(all[0]); one++)
        if (strcmp(name, all[one].name) == 0)
            return all[one].function();
    if (strcmp(name, "abort") == 0)
        abort();
    if (strcmp(name, "exit 0") == 0)
        exit(0);
    if (strcmp(name, "exit 42") == 0)
        exit(42);
    if (strcmp(name, "_exit 0") == 0)
        _exit(0);
    if (strcmp(name, "null write in a thread") == 0)
        return in_a_thread(null_write_in_a_thread);
    if (strcmp(name, "exit in a thread") == 0)
        return in_a_thread(exit_in_a_thread);
    return -2;
}
