/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Takes writes and forgets them; reads are zeros, never what was in the buffer before. */

#include <string.h>

#include "backstore/class.h"

static gboolean
null_open(Backstore *store, const BackstoreConfig *config, GError **ret_error)
{
    store->native = NATIVE_FUA | NATIVE_ZERO | NATIVE_ZERO_FUA | NATIVE_UNMAP | NATIVE_PREFETCH;
    store->info.size = config->size;
    store->info.cache = CACHE_NONE;
    store->info.can_unmap = TRUE;
    store->info.unmap_zeroes = TRUE;
    store->info.unmap_granularity = store->info.block_size;
    return TRUE;
}

static void
null_close(Backstore *store)
{
}

static void
null_submit(Backstore *store, Io *io)
{
    if (io->kind == IO_READ)
        memset(io->buffer, 0, io->length);

    backstore_io_done(io, 0);
}

static gboolean
null_resize(Backstore *store, guint64 size, GError **ret_error)
{
    store->info.size = size;
    return TRUE;
}

const BackstoreClass null_class = {
    .type = "null",
    .instance_size = sizeof(Backstore),
    .open = null_open,
    .close = null_close,
    .submit = null_submit,
    .resize = null_resize,
};
