/* System calls that fail on demand, for files below one folder.
 *
 * FAULT_ROOT   the folder, as an absolute path
 * FAULT_COUNT  a file of eight bytes outside it that counts the calls of the chosen kind
 * FAULT_CALLS  the kind: "space" (what takes disk space), "names" (renames), "sync", "read", "change" (space, names and sync), "any"
 * FAULT_HOW    "count", "fail" (call FAULT_AT alone), "full" (call FAULT_AT and all after it), "kill" (before call FAULT_AT),
 *              "short" (reads and writes do a part), "interrupt" (every third call is interrupted by a signal)
 * FAULT_ERRNO  the error of "fail" and "full"
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind { SPACE = 1, NAMES = 2, SYNC = 4, READ = 8 };

static const char *root;
static size_t root_length;
static unsigned kinds;
static char how = 'c';
static uint64_t at;
static int error_number;
static uint64_t *count;
/* One interruption in a row: whoever tries again must succeed. */
static __thread int interrupted;

__attribute__((constructor)) static void start(void) {
    const char *calls = getenv("FAULT_CALLS"), *mode = getenv("FAULT_HOW"), *file = getenv("FAULT_COUNT");
    root = getenv("FAULT_ROOT");
    if (!root || !calls || !mode || !file)
        return;
    root_length = strlen(root);
    kinds = !strcmp(calls, "space")  ? SPACE
            : !strcmp(calls, "names") ? NAMES
            : !strcmp(calls, "sync")  ? SYNC
            : !strcmp(calls, "read")  ? READ
            : !strcmp(calls, "change") ? SPACE | NAMES | SYNC
                                       : SPACE | NAMES | SYNC | READ;
    how = !strcmp(mode, "full") ? 'F' : mode[0];
    if (getenv("FAULT_AT"))
        at = strtoull(getenv("FAULT_AT"), NULL, 10);
    if (getenv("FAULT_ERRNO"))
        error_number = atoi(getenv("FAULT_ERRNO"));
    int descriptor = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDWR | O_CLOEXEC, 0);
    void *map = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
    if (descriptor < 0 || map == MAP_FAILED)
        abort();
    count = map;
}

static int below_root(const char *path) {
    return path && !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}

static int watched(int descriptor) {
    char link[40], path[PATH_MAX + 1];
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = count ? readlink(link, path, PATH_MAX) : -1;
    if (length < 0)
        return 0;
    path[length] = 0;
    return below_root(path);
}

/* Whether this call fails; then errno is set. */
static int fails(enum kind kind, int concerned, int interruptible) {
    if (!count || !concerned || !(kinds & kind))
        return 0;
    uint64_t number = __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
    if (how == 'k' && number == at)
        kill(getpid(), SIGKILL);
    if (how == 'i' && interruptible && number % 3 == 0 && !interrupted) {
        interrupted = 1;
        errno = EINTR;
        return 1;
    }
    interrupted = 0;
    if ((how == 'f' && number == at) || (how == 'F' && number >= at)) {
        errno = error_number;
        return 1;
    }
    return 0;
}

/* How much of a read or write is done. */
static size_t part(int concerned, size_t size) {
    if (!count || how != 's' || !concerned || size < 2)
        return size;
    uint64_t bits = __atomic_load_n(count, __ATOMIC_SEQ_CST) * 0x9E3779B97F4A7C15ull;
    return 1 + (bits >> 32) % size;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int opens(const char *path, int flags) {
    int makes = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
    return fails(makes ? SPACE : READ, count && below_root(path), 1);
}

#define OPEN(name)                                                                                                     \
    int name(const char *path, int flags, ...) {                                                                       \
        va_list list;                                                                                                  \
        va_start(list, flags);                                                                                         \
        mode_t mode = va_arg(list, mode_t);                                                                            \
        va_end(list);                                                                                                  \
        return opens(path, flags) ? -1 : NEXT(name)(path, flags, mode);                                                \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                                                                   \
    int name(int folder, const char *path, int flags, ...) {                                                           \
        va_list list;                                                                                                  \
        va_start(list, flags);                                                                                         \
        mode_t mode = va_arg(list, mode_t);                                                                            \
        va_end(list);                                                                                                  \
        return opens(path, flags) ? -1 : NEXT(name)(folder, path, flags, mode);                                        \
    }
OPENAT(openat)
OPENAT(openat64)

#define TRANSFER(result, name, kind, parameters, concerned, call)                                                      \
    result name parameters {                                                                                           \
        int seen = count && concerned;                                                                                 \
        if (fails(kind, seen, 1))                                                                                      \
            return -1;                                                                                                 \
        size = part(seen, size);                                                                                       \
        return NEXT(name) call;                                                                                        \
    }
TRANSFER(ssize_t, read, READ, (int fd, void *into, size_t size), watched(fd), (fd, into, size))
TRANSFER(ssize_t, pread, READ, (int fd, void *into, size_t size, off_t from), watched(fd), (fd, into, size, from))
TRANSFER(ssize_t, pread64, READ, (int fd, void *into, size_t size, off64_t from), watched(fd), (fd, into, size, from))
TRANSFER(ssize_t, write, SPACE, (int fd, const void *from, size_t size), watched(fd), (fd, from, size))
TRANSFER(ssize_t, pwrite, SPACE, (int fd, const void *from, size_t size, off_t to), watched(fd), (fd, from, size, to))
TRANSFER(ssize_t, pwrite64, SPACE, (int fd, const void *from, size_t size, off64_t to), watched(fd), (fd, from, size, to))

ssize_t writev(int fd, const struct iovec *parts, int number) {
    int seen = count && watched(fd);
    if (fails(SPACE, seen, 1))
        return -1;
    return NEXT(writev)(fd, parts, seen && how == 's' && number > 1 ? 1 : number);
}

ssize_t readv(int fd, const struct iovec *parts, int number) {
    int seen = count && watched(fd);
    if (fails(READ, seen, 1))
        return -1;
    return NEXT(readv)(fd, parts, seen && how == 's' && number > 1 ? 1 : number);
}

#define ON_FILE(name, kind, parameters, call)                                                                          \
    int name parameters { return fails(kind, count && watched(fd), 1) ? -1 : NEXT(name) call; }
ON_FILE(fsync, SYNC, (int fd), (fd))
ON_FILE(fdatasync, SYNC, (int fd), (fd))
ON_FILE(ftruncate, SPACE, (int fd, off_t size), (fd, size))
ON_FILE(ftruncate64, SPACE, (int fd, off64_t size), (fd, size))
ON_FILE(fallocate, SPACE, (int fd, int mode, off_t from, off_t size), (fd, mode, from, size))
ON_FILE(fallocate64, SPACE, (int fd, int mode, off64_t from, off64_t size), (fd, mode, from, size))

int msync(void *from, size_t size, int flags) {
    /* Which file a page belongs to is not known here; the programs map no other files for writing. */
    return fails(SYNC, count && (flags & MS_SYNC), 0) ? -1 : NEXT(msync)(from, size, flags);
}

int mkdir(const char *path, mode_t mode) {
    return fails(SPACE, count && below_root(path), 0) ? -1 : NEXT(mkdir)(path, mode);
}

int rename(const char *from, const char *to) {
    return fails(NAMES, count && below_root(to), 0) ? -1 : NEXT(rename)(from, to);
}

long syscall(long number, ...) {
    long a[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(list, long);
    va_end(list);
    if (number == SYS_renameat2 && fails(NAMES, count && below_root((const char *)a[3]), 0))
        return -1;
    return NEXT(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
