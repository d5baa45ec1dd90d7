/* SPDX-License-Identifier: Apache-2.0 */
/* Preloaded into pjdfstest, which makes a directory for each of its tests. Stores
 * are flat: there are no directories to be made in them. So that directory is made
 * on a disk, in $DIRECTORIES/BASE/, and the store's own, $STORE, is bound over it. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

/* Is it $DIRECTORIES/BASE/NAME? */
static int is_a_test_s(const char *path)
{
	const char *base = getenv("DIRECTORIES");
	size_t length = strlen(base);
	if (strncmp(path, base, length) != 0 || path[length] != '/')
		return 0;
	const char *slash = strchr(path + length + 1, '/');
	return slash != NULL && slash[1] != '\0' && strchr(slash + 1, '/') == NULL;
}

int mkdir(const char *path, mode_t mode)
{
	int (*real)(const char *, mode_t) = dlsym(RTLD_NEXT, "mkdir");
	int result = real(path, mode);
	if (result == 0 && is_a_test_s(path))
		result = mount(getenv("STORE"), path, NULL, MS_BIND, NULL);
	return result;
}

int unlinkat(int directory, const char *path, int flags)
{
	int (*real)(int, const char *, int) = dlsym(RTLD_NEXT, "unlinkat");
	if ((flags & AT_REMOVEDIR) && is_a_test_s(path))
		umount2(path, MNT_DETACH);
	return real(directory, path, flags);
}
