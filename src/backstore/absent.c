/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* Stands for a store that is not there: has facts, so that its unit can tell who it is, and no data. */

#include <errno.h>

#include "backstore/class.h"
#include "util/bytes.h"

#define BLOCK_SIZE_MIN 512
#define BLOCK_SIZE_MAX 4096

static gboolean
absent_open(Backstore *store, const BackstoreConfig *config, GError **ret_error)
{
    store->native =
        NATIVE_FUA | NATIVE_ZERO | NATIVE_ZERO_FUA | NATIVE_UNMAP | NATIVE_MAP | NATIVE_PREFETCH;
    store->info.size = config->size;
    store->info.cache = CACHE_NONE;
    store->info.can_unmap = TRUE;
    store->info.unmap_zeroes = TRUE;
    store->info.unmap_granularity = store->info.block_size;
    return TRUE;
}

static void
absent_close(Backstore *store)
{
}

static void
absent_submit(Backstore *store, Io *io)
{
    backstore_io_done(io, -ENODEV);
}

static const BackstoreClass absent_class = {
    .type = "absent",
    .instance_size = sizeof(Backstore),
    .open = absent_open,
    .close = absent_close,
    .submit = absent_submit,
};

/* What the configuration says, where it makes sense: the real store has not judged it yet */
static void
make_config(const BackstoreConfig *config, BackstoreConfig *absent)
{
    guint32 block = config->block_size;

    if (!is_power_of_two(block) || block < BLOCK_SIZE_MIN || block > BLOCK_SIZE_MAX)
        block = BLOCK_SIZE_MIN;

    *absent = (BackstoreConfig){ .type = absent_class.type,
                                 .name = config->name,
                                 .size = round_down(MIN(config->size, G_MAXINT64), block),
                                 .block_size = block,
                                 .read_only = config->read_only,
                                 .fd = -1 };
    if (absent->size == 0)
        absent->size = block;
}

Backstore *
backstore_open_absent(const BackstoreConfig *config, const BackstoreInfo *facts, Offload *offload,
                      guint n_workers, GError **ret_error)
{
    BackstoreConfig absent;
    Backstore *store;

    make_config(config, &absent);
    store = backstore_open_class(&absent_class, &absent, offload, n_workers, ret_error);
    if (store != NULL && facts != NULL)
        store->info = *facts;
    return store;
}
