/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* What only block devices do, on loop devices; skipped where there are none. */

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fixture.h"
#include "util/error.h"
#include "util/fd.h"

#define SIZE (4 * MIB)

typedef struct {
    Fixture fixture;
    char *backing;
    char *path;
    int fd; /* keeps the device alive */
    BackstoreConfig config;
} Device;

/* FALSE: skipped */
static gboolean
device_init(Device *device, guint32 sector_size)
{
    g_autofree char *link = NULL;
    const char *why;

    *device = (Device){ .fd = -1 };
    fixture_init(&device->fixture);
    device->backing = fixture_path(&device->fixture, "backing");
    device->fd = loop_open(device->backing, SIZE, sector_size, &why);
    if (device->fd < 0) {
        g_test_skip(why);
        return FALSE;
    }

    link = g_strdup_printf("/proc/self/fd/%d", device->fd);
    device->path = g_file_read_link(link, NULL);
    device->config =
        (BackstoreConfig){ .type = "block", .name = "disk", .path = device->path, .fd = -1 };
    return TRUE;
}

static void
device_deinit(Device *device)
{
    fixture_deinit(&device->fixture);
    fd_close(&device->fd);
    g_free(device->backing);
    g_free(device->path);
}

static void
device_open(Device *device)
{
    GError *error = NULL;

    device->fixture.store = backstore_open(&device->config, device->fixture.offload, 1, &error);
    g_assert_no_error(error);
    g_assert_nonnull(device->fixture.store);
}

static void
check_refused(Device *device, LunportError code)
{
    GError *error = NULL;

    g_assert_null(backstore_open(&device->config, device->fixture.offload, 1, &error));
    g_assert_error(error, LUNPORT_ERROR, (gint)code);
    g_error_free(error);
}

static void
test_takes_the_sectors_of_the_device(void)
{
    Device device;

    if (device_init(&device, 4096)) {
        device_open(&device);
        g_assert_cmpuint(backstore_info(device.fixture.store)->block_size, ==, 4096);
        g_assert_cmpuint(backstore_info(device.fixture.store)->size, ==, SIZE);
        store_fill(&device.fixture, 4096, 8192, 1);
        store_check(&device.fixture, 4096, 8192, 1);
    }
    device_deinit(&device);
}

static void
test_tells_of_larger_sectors(void)
{
    Device device;
    void *buffer = buffer_new(4096);

    if (device_init(&device, 4096)) {
        device.config.block_size = 512;
        device_open(&device);
        g_assert_cmpuint(backstore_info(device.fixture.store)->offset_align, ==, 4096);
        g_assert_cmpuint(backstore_info(device.fixture.store)->physical_block_size, >=, 4096);
        store_fill(&device.fixture, 0, MIB, 1);
        g_assert_cmpint(fixture_run(&device.fixture, IO_READ, 0, 512, 1024, buffer), ==, 0);
        pattern_check(buffer, 1024, 512, 1);

        /* A hint: less than a sector cannot be unmapped, and its neighbours stay */
        g_assert_cmpint(fixture_run(&device.fixture, IO_UNMAP, 0, 512, 512, NULL), ==, 0);
        store_check(&device.fixture, 0, MIB, 1);
    }
    free(buffer);
    device_deinit(&device);
}

static void
test_device_in_use_is_refused(void)
{
    Device device;
    autofd int other = -1;

    if (device_init(&device, 512)) {
        other = open(device.path, O_RDWR | O_EXCL | O_CLOEXEC);
        g_assert_cmpint(other, >=, 0);
        check_refused(&device, LUNPORT_ERROR_STORAGE_IN_USE);
    }
    device_deinit(&device);
}

static void
test_read_only_device(void)
{
    Device device;
    int on = 1;
    int off = 0;

    if (device_init(&device, 512)) {
        g_assert_cmpint(ioctl(device.fd, BLKROSET, &on), ==, 0);
        check_refused(&device, LUNPORT_ERROR_STORAGE_PERMISSION);
        device.config.read_only = TRUE;
        device_open(&device);
        g_assert_true(backstore_info(device.fixture.store)->read_only);
        store_check_zeros(&device.fixture, 0, SIZE);
        g_assert_cmpint(ioctl(device.fd, BLKROSET, &off), ==, 0);
    }
    device_deinit(&device);
}

static void
test_learns_a_new_size(void)
{
    Device device;
    GError *error = NULL;

    if (device_init(&device, 512)) {
        device_open(&device);
        g_assert_cmpint(truncate(device.backing, 2 * SIZE), ==, 0);
        g_assert_cmpint(ioctl(device.fd, LOOP_SET_CAPACITY), ==, 0);
        g_assert_true(backstore_resize(device.fixture.store, 0, &error));
        g_assert_no_error(error);
        g_assert_cmpuint(backstore_info(device.fixture.store)->size, ==, 2 * SIZE);
        backstore_take_size(device.fixture.store, device.fixture.worker, 2 * SIZE);
        store_fill(&device.fixture, SIZE, SIZE, 1);
        store_check(&device.fixture, SIZE, SIZE, 1);
    }
    device_deinit(&device);
}

static void
test_takes_a_descriptor(void)
{
    Device device;

    if (device_init(&device, 512)) {
        device.config.path = NULL;
        device.config.fd = open(device.path, O_RDWR | O_CLOEXEC);
        device_open(&device);
        g_assert_cmpint(fcntl(device.config.fd, F_GETFD), ==, -1);
        store_fill(&device.fixture, 0, SIZE, 1);
        store_check(&device.fixture, 0, SIZE, 1);

        /* Nobody else gets it now */
        device.config.path = device.path;
        device.config.fd = -1;
        check_refused(&device, LUNPORT_ERROR_STORAGE_IN_USE);
    }
    device_deinit(&device);
}

static void
test_discard_frees(void)
{
    Device device;
    struct stat before;
    struct stat after;

    if (device_init(&device, 512)) {
        device_open(&device);
        store_fill(&device.fixture, 0, SIZE, 1);
        g_assert_cmpint(fixture_run(&device.fixture, IO_FLUSH, 0, 0, 0, NULL), ==, 0);
        g_assert_cmpint(stat(device.backing, &before), ==, 0);
        g_assert_cmpint(fixture_run(&device.fixture, IO_UNMAP, 0, 0, SIZE, NULL), ==, 0);
        g_assert_cmpint(stat(device.backing, &after), ==, 0);
        if (backstore_info(device.fixture.store)->can_unmap)
            g_assert_cmpint(after.st_blocks, <, before.st_blocks);
        else
            g_test_skip("loop devices do not discard here");
    }
    device_deinit(&device);
}

static void
test_file_is_refused(void)
{
    Fixture fixture;
    GError *error = NULL;
    g_autofree char *path = NULL;
    BackstoreConfig config = { .type = "block", .name = "disk", .fd = -1 };

    fixture_init(&fixture);
    config.path = path = fixture_path(&fixture, "disk");
    g_assert_true(g_file_set_contents(path, "x", 1, NULL));
    g_assert_null(backstore_open(&config, fixture.offload, 1, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
    g_error_free(error);
    fixture_deinit(&fixture);
}

static void
test_missing_device_is_not_found(void)
{
    Fixture fixture;
    GError *error = NULL;
    BackstoreConfig config = {
        .type = "block", .name = "disk", .path = "/dev/there-is-no-such-device", .fd = -1
    };

    fixture_init(&fixture);
    g_assert_null(backstore_open(&config, fixture.offload, 1, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_NOT_FOUND);
    g_error_free(error);
    fixture_deinit(&fixture);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/backstore/block/sectors", test_takes_the_sectors_of_the_device);
    g_test_add_func("/backstore/block/larger-sectors", test_tells_of_larger_sectors);
    g_test_add_func("/backstore/block/in-use", test_device_in_use_is_refused);
    g_test_add_func("/backstore/block/read-only", test_read_only_device);
    g_test_add_func("/backstore/block/new-size", test_learns_a_new_size);
    g_test_add_func("/backstore/block/descriptor", test_takes_a_descriptor);
    g_test_add_func("/backstore/block/discard-frees", test_discard_frees);
    g_test_add_func("/backstore/block/regular-file", test_file_is_refused);
    g_test_add_func("/backstore/block/missing", test_missing_device_is_not_found);

    return g_test_run();
}
