/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "copy-fixture.h"

#include <string.h>

#include "backstore/backstore.h"
#include "util/bytes.h"

void
copy_set_map(Nexus *nexus, const LunEntry *entries, guint n)
{
    LunMap *map = lun_map_new(entries, n);

    nexus_set_map(nexus, map);
    snapshot_unref(&map->snapshot);
    for (guint i = 0; i < n; i++)
        nexus->luns[i]->attentions.n = 0;
}

static void
add_second(Copy *c, Backstore *store, gboolean read_only)
{
    const LuConfig config = { .name = "other", .uuid = { 1 } };

    c->nexus = c->rig->nexus;
    c->store = store;
    c->lu = lu_new(&config, c->store, c->rig->workers, c->rig->n_workers, 0);
    copy_set_map(c->nexus, (LunEntry[]){ { 0, c->rig->lu, FALSE }, { 1, c->lu, read_only } }, 2);
}

void
copy_init(Copy *c, gboolean read_only)
{
    const BackstoreConfig config = { .type = "ram", .name = "other", .size = 4 * MIB, .fd = -1 };
    g_autoptr(GError) error = NULL;
    Backstore *store;

    c->rig = rig_new(&(RigConfig){ .slow = { .size = 4 * MIB } });
    store = backstore_open(&config, c->rig->offload, c->rig->n_workers, &error);
    g_assert_no_error(error);
    add_second(c, store, read_only);
}

void
copy_init_slow(Copy *c, const SlowConfig *config, guint n_workers, gsize pool_size)
{
    c->rig =
        rig_new(&(RigConfig){ .slow = *config, .n_workers = n_workers, .pool_size = pool_size });
    add_second(c, rig_open_slow(c->rig, config), FALSE);
}

void
copy_clear(Copy *c)
{
    copy_set_map(c->nexus, (LunEntry[]){ { 0, c->rig->lu, FALSE } }, 1);
    rig_turn(c->rig);
    lu_free(c->lu);
    backstore_close(c->store);
    rig_free(c->rig);
}

void
copy_put_cscd(guint8 *p, const Lu *lu)
{
    const guint8 *designator = lu->identity.designators;

    memset(p, 0, COPY_CSCD_LENGTH);
    p[0] = 0xe4;
    p[4] = designator[0];
    p[5] = designator[1];
    p[7] = designator[3];
    memcpy(p + 8, designator + 4, designator[3]);
    put_be24(p + 29, 512);
}

void
copy_put_segment(guint8 *p, guint source, guint destination, guint n_blocks, guint64 from,
                 guint64 to)
{
    memset(p, 0, COPY_SEGMENT_LENGTH);
    p[0] = 0x02;
    put_be16(p + 2, COPY_SEGMENT_LENGTH - 4);
    put_be16(p + 4, (guint16)source);
    put_be16(p + 6, (guint16)destination);
    put_be16(p + 10, (guint16)n_blocks);
    put_be64(p + 12, from);
    put_be64(p + 20, to);
}

void
copy_make_list(Copy *c)
{
    memset(c->list, 0, sizeof(c->list));
    c->list[0] = 7;
    put_be16(c->list + 2, 64);
    copy_put_cscd(c->list + 16, c->rig->lu);
    copy_put_cscd(c->list + 48, c->lu);
    c->length = 80;
}

void
copy_make_lid4(Copy *c)
{
    memset(c->list, 0, sizeof(c->list));
    c->list[0] = 1;
    put_be16(c->list + 2, 32);
    c->list[16] = 0xff;
    put_be32(c->list + 20, 0x01020304);
    put_be16(c->list + 42, 64);
    copy_put_cscd(c->list + 48, c->rig->lu);
    copy_put_cscd(c->list + 80, c->lu);
    c->length = 112;
}

void
copy_add_segment(Copy *c, guint source, guint destination, guint n_blocks, guint64 from, guint64 to)
{
    gboolean is_lid4 = c->list[16] == 0xff;

    g_assert(c->length + COPY_SEGMENT_LENGTH <= sizeof(c->list));
    copy_put_segment(c->list + c->length, source, destination, n_blocks, from, to);
    c->length += COPY_SEGMENT_LENGTH;
    if (is_lid4)
        put_be16(c->list + 44, (guint16)(c->length - 112));
    else
        put_be32(c->list + 8, (guint32)(c->length - 80));
}

void
copy_prepare(Copy *c, TestCommand *test, guint8 action)
{
    guint8 cdb[16] = { 0x83, action };

    put_be32(cdb + 10, (guint32)c->length);
    test_command_init(test, c->nexus, 0, cdb, sizeof(cdb));
    test->out = c->list;
    test->n_out = c->length;
    test->command.expected_out = (guint32)c->length;
}

void
copy_run(Copy *c, TestCommand *test, guint8 action)
{
    copy_prepare(c, test, action);
    test_run(c->rig, test);
}

GByteArray *
copy_receive(Copy *c, guint8 action, guint32 list_id)
{
    guint8 cdb[16] = { 0x84, action };
    TestCommand test;
    GByteArray *data;

    if (action == 0x05)
        put_be32(cdb + 2, list_id);
    else
        cdb[2] = (guint8)list_id;
    put_be32(cdb + 10, 512);
    (void)test_execute(c->rig, c->nexus, &test, cdb, sizeof(cdb), 512, NULL, 0);
    test_assert_good(&test);
    data = g_byte_array_ref(test.in);
    test_command_clear(&test);
    return data;
}

void
copy_fill(Copy *c)
{
    guint8 *memory = slow_memory(c->rig->store);
    guint64 size = c->rig->store->info.size;

    for (gsize i = 0; i < size; i++)
        memory[i] = (guint8)(i >> 9 ^ i >> 17 ^ i >> 21 ^ i);
}
