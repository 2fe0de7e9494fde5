/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Commands that describe the unit: INQUIRY, VPD, MODE SENSE, READ CAPACITY,
 * REPORT LUNS, REPORT SUPPORTED OPERATION CODES, REQUEST SENSE.
 */

#include <string.h>

#include "fixture.h"
#include "util/bytes.h"

#define ROOM 4096

typedef struct {
    Rig *rig;
    TestCommand test;
} Case;

static void
case_init(Case *c, const RigConfig *config)
{
    memset(c, 0, sizeof(*c));
    c->rig = rig_new(config);
}

static void
case_clear(Case *c)
{
    test_command_clear(&c->test);
    rig_free(c->rig);
}

static const guint8 *
ask(Case *c, const guint8 *cdb, gsize n)
{
    test_command_clear(&c->test);
    (void)test_execute(c->rig, c->rig->nexus, &c->test, cdb, n, ROOM, NULL, 0);
    return c->test.in->data;
}

static const guint8 *
ask_lun(Case *c, const guint8 lun[8], const guint8 *cdb, gsize n)
{
    test_command_clear(&c->test);
    test_command_init(&c->test, c->rig->nexus, 0, cdb, n);
    memcpy(c->test.command.lun, lun, 8);
    c->test.command.expected_in = ROOM;
    test_run(c->rig, &c->test);
    return c->test.in->data;
}

static void
test_standard(void)
{
    const guint8 *data;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    data = ask(&c, CDB(0x12, 0, 0, 0, 255, 0));
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.in->len, ==, 96);
    g_assert_cmpmem(data, 8, ((guint8[]){ 0x00, 0, 0x06, 0x12, 91, 0x18, 0x10, 0x02 }), 8);
    g_assert_cmpmem(data + 8, 8, "LUNPORT ", 8);
    g_assert_cmpmem(data + 16, 16, "DISK            ", 16);
    case_clear(&c);
}

static void
test_truncated(void)
{
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    (void)ask(&c, CDB(0x12, 0, 0, 0, 5, 0));
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.in->len, ==, 5);
    g_assert_cmpuint(c.test.command.transfer_length, ==, 5);
    case_clear(&c);
}

static void
test_less_room_than_asked(void)
{
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    (void)test_execute(c.rig, c.rig->nexus, &c.test, CDB(0x12, 0, 0, 0, 96, 0), 36, NULL, 0);
    g_assert_cmpuint(c.test.in->len, ==, 36);
    g_assert_cmpuint(c.test.command.transfer_length, ==, 96);
    case_clear(&c);
}

static void
test_configured_identity(void)
{
    const guint8 *data;
    Case c;

    case_init(&c, &(RigConfig){ .lu = { .vendor = "IET",
                                        .product = "VIRTUAL-DISK-LONGER",
                                        .revision = "7",
                                        .serial = "beaf11" } });
    data = ask(&c, CDB(0x12, 0, 0, 0, 255, 0));
    g_assert_cmpmem(data + 8, 28, "IET     VIRTUAL-DISK-LON7   ", 28);
    data = ask(&c, CDB(0x12, 1, 0x80, 0, 255, 0));
    g_assert_cmpmem(data, 10,
                    "\x00\x80\x00\x06"
                    "beaf11",
                    10);
    case_clear(&c);
}

static void
test_page_code_without_evpd(void)
{
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    (void)ask(&c, CDB(0x12, 0, 0x80, 0, 255, 0));
    test_assert_field(&c.test, TRUE, 2, 7);
    case_clear(&c);
}

static void
test_no_unit(void)
{
    static const guint8 lun[8] = { 0, 7 };
    const guint8 *data;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    data = ask_lun(&c, lun, CDB(0x12, 0, 0, 0, 255, 0));
    test_assert_good(&c.test);
    g_assert_cmphex(data[0], ==, 0x7f);
    case_clear(&c);
}

static void
test_well_known_unit(void)
{
    static const guint8 lun[8] = { 0xc1, 0x01 };
    const guint8 *data;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    data = ask_lun(&c, lun, CDB(0x12, 0, 0, 0, 255, 0));
    g_assert_cmphex(data[0], ==, 0x1e);
    (void)ask_lun(&c, lun, CDB(0x00, 0, 0, 0, 0, 0));
    test_assert_good(&c.test);
    (void)ask_lun(&c, lun, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0));
    test_assert_sense(&c.test, SENSE_INVALID_OPCODE);
    (void)ask_lun(&c, lun, CDB(0xff, 0, 0, 0, 0, 0));
    test_assert_sense(&c.test, SENSE_INVALID_OPCODE);
    (void)ask_lun(&c, lun, CDB(0x9e, 0x1f, 0, 0, 0, 0));
    test_assert_sense(&c.test, SENSE_INVALID_OPCODE);
    case_clear(&c);
}

/* It has a list of pages, and names: those of its port and its device */
static void
test_well_known_unit_vpd(void)
{
    static const guint8 lun[8] = { 0xc1, 0x01 };
    g_autofree guint8 *names = NULL;
    guint n_names = 0, n_own;
    const guint8 *data;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    data = ask_lun(&c, lun, CDB(0x12, 1, 0x00, 0, 255, 0));
    g_assert_cmpmem(data, c.test.in->len, "\x1e\x00\0\x02\x00\x83", 6);
    data = ask_lun(&c, lun, CDB(0x12, 1, 0x83, 1, 255, 0));
    g_assert_cmphex(data[0], ==, 0x1e);
    g_assert_cmphex(data[1], ==, 0x83);
    g_assert_cmpuint(get_be16(data + 2), ==, c.test.in->len - 4);
    for (const guint8 *p = data + 4; p < data + c.test.in->len; p += 4 + p[3])
        g_assert_cmphex(p[1] & 0x30, !=, 0x00);
    n_names = c.test.in->len - 4;
    names = g_memdup2(data + 4, n_names);
    (void)ask_lun(&c, lun, CDB(0x12, 1, 0x80, 0, 255, 0));
    test_assert_field(&c.test, TRUE, 2, 7);

    /* They are those that a unit of the port ends with */
    data = ask(&c, CDB(0x12, 1, 0x83, 1, 255, 0));
    n_own = c.test.in->len;
    g_assert_cmpuint(n_own, >, n_names);
    g_assert_cmpmem(data + n_own - n_names, n_names, names, n_names);
    case_clear(&c);
}

/* Each page says what kind of unit it is about */
static void
test_vpd_device_type(void)
{
    static const guint8 pages[] = { 0x00, 0x80, 0x83, 0x85, 0x86, 0x87, 0x88 };

    for (guint device = LU_DISK; device <= LU_CDROM; device++) {
        Case c;

        case_init(&c, &(RigConfig){ .lu = { .device = (LuDevice)device } });
        for (gsize i = 0; i < G_N_ELEMENTS(pages); i++) {
            const guint8 *data = ask(&c, CDB(0x12, 1, pages[i], 1, 255, 0));

            g_assert_cmphex(data[0], ==, device == LU_CDROM ? 0x05 : 0x00);
            g_assert_cmphex(data[1], ==, pages[i]);
        }
        case_clear(&c);
    }
}

static void
test_vpd_list(void)
{
    const guint8 *data;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    data = ask(&c, CDB(0x12, 1, 0x00, 0, 255, 0));
    g_assert_cmpmem(
        data, c.test.in->len,
        ((guint8[]){ 0, 0, 0, 10, 0x00, 0x80, 0x83, 0x85, 0x86, 0x87, 0x88, 0x8f, 0xb0, 0xb1 }),
        14);
    case_clear(&c);

    case_init(&c, &(RigConfig){ .lu = { .thin = TRUE } });
    data = ask(&c, CDB(0x12, 1, 0x00, 0, 255, 0));
    g_assert_cmpmem(data, c.test.in->len,
                    ((guint8[]){ 0, 0, 0, 11, 0x00, 0x80, 0x83, 0x85, 0x86, 0x87, 0x88, 0x8f, 0xb0,
                                 0xb1, 0xb2 }),
                    15);
    case_clear(&c);
}

static void
test_vpd_small_pages(void)
{
    const guint8 *data;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    data = ask(&c, CDB(0x12, 1, 0x85, 0, 255, 0));
    g_assert_cmpmem(data, c.test.in->len, ((guint8[]){ 0, 0x85, 0, 0 }), 4);
    data = ask(&c, CDB(0x12, 1, 0x87, 0, 255, 0));
    g_assert_cmpmem(data, c.test.in->len, ((guint8[]){ 0, 0x87, 0, 4, 0x3f, 0xff, 0, 0 }), 8);
    case_clear(&c);
}

static void
test_vpd_ports(void)
{
    const guint8 *data;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    data = ask(&c, CDB(0x12, 1, 0x88, 0, 255, 0));
    g_assert_cmpuint(get_be16(data + 2) + 4U, ==, c.test.in->len);
    g_assert_cmpmem(data + 4, 10, ((guint8[]){ 0, 0, 0, 1, 0, 0, 0, 0, 0, 0 }), 10);
    g_assert_cmpuint(get_be16(data + 14) + 16U, ==, c.test.in->len);
    g_assert_cmpmem(data + 16, 3, ((guint8[]){ 0x53, 0x98, 0 }), 3);
    g_assert_cmpstr((const char *)data + 20, ==, "iqn.2026-11.org.lunport:test,t,0x0001");
    case_clear(&c);
}

/* Each group is a port with an identifier of its own, everywhere the same */
static void
test_ports_of_groups(void)
{
    static const AluaGroup groups[] = { { .tag = 1, .relative_port = 7 },
                                        { .tag = 9, .relative_port = 15 } };
    const guint8 *data;
    LunMap *map;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    map = lun_map_new((LunEntry[]){ { 0, c.rig->lu, FALSE } }, 1);
    lun_map_set_alua(map, groups, 2, NULL);
    nexus_set_map(c.rig->nexus, map);
    snapshot_unref(&map->snapshot);

    data = ask(&c, CDB(0x12, 1, 0x88, 0, 255, 0));
    g_assert_cmphex(get_be16(data + 4 + 2), ==, 7);
    g_assert_cmpstr((const char *)data + 20, ==, "iqn.2026-11.org.lunport:test,t,0x0001");
    data += 4 + 12 + get_be16(data + 14);
    g_assert_cmphex(get_be16(data + 2), ==, 15);
    g_assert_cmpstr((const char *)data + 16, ==, "iqn.2026-11.org.lunport:test,t,0x0009");
    g_assert_cmpuint((gsize)(data - c.test.in->data) + 12 + get_be16(data + 10), ==,
                     c.test.in->len);

    data = ask(&c, CDB(0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 255, 0, 0, 0));
    g_assert_cmphex(get_be16(data + 4 + 2), ==, 1);
    g_assert_cmphex(get_be16(data + 4 + 10), ==, 7);
    g_assert_cmphex(get_be16(data + 16 + 2), ==, 9);
    g_assert_cmphex(get_be16(data + 16 + 10), ==, 15);
    case_clear(&c);
}

static void
test_removable_bit(void)
{
    Case c;

    case_init(&c, &(RigConfig){ .lu = { .removable = TRUE } });
    g_assert_cmphex(ask(&c, CDB(0x12, 0, 0, 0, 255, 0))[1], ==, 0x80);
    case_clear(&c);
}

static void
test_vpd_unknown(void)
{
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    (void)ask(&c, CDB(0x12, 1, 0xc0, 0, 255, 0));
    test_assert_field(&c.test, TRUE, 2, 7);
    case_clear(&c);
}

static void
test_vpd_serial(void)
{
    const guint8 *data;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    data = ask(&c, CDB(0x12, 1, 0x80, 0, 255, 0));
    g_assert_cmpmem(data + 4, c.test.in->len - 4, "0f1e2d3c4b5a69788796a5b4c3d2e1f0", 32);
    case_clear(&c);
}

/* All designators, as the drawing has them */
static void
test_vpd_identification(void)
{
    const guint8 *data, *d;
    guint types = 0;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    data = ask(&c, CDB(0x12, 1, 0x83, 4, 0, 0));
    g_assert_cmpuint(get_be16(data + 2) + 4U, ==, c.test.in->len);

    for (d = data + 4; d < data + c.test.in->len; d += 4 + d[3])
        types |= 1U << (d[1] & 0x0f);
    g_assert_true(d == data + c.test.in->len);
    g_assert_cmphex(types, ==, 1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 10);

    d = data + 4;
    g_assert_cmpmem(d, 4, ((guint8[]){ 0x01, 0x03, 0, 8 }), 4);
    g_assert_cmphex(d[4] >> 4, ==, 3);
    d += 12;
    g_assert_cmpmem(d, 4, ((guint8[]){ 0x02, 0x01, 0, 44 }), 4);
    g_assert_cmpmem(d + 4, 44, "LUNPORT 0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", 44);
    d += 48;
    g_assert_cmpmem(d, 6, ((guint8[]){ 0x01, 0x0a, 0, 18, 0x10, 0 }), 6);
    g_assert_cmpmem(d + 6, 16, rig_uuid, 16);
    d += 22;
    g_assert_cmpmem(d, 8, ((guint8[]){ 0x51, 0x94, 0, 4, 0, 0, 0, 1 }), 8);
    d += 8;
    g_assert_cmpmem(d, 8, ((guint8[]){ 0x51, 0x95, 0, 4, 0, 0, 0, 1 }), 8);
    d += 8;
    g_assert_cmpmem(d, 3, ((guint8[]){ 0x53, 0x98, 0 }), 3);
    g_assert_cmpuint(d[3] % 4, ==, 0);
    g_assert_cmpstr((const char *)d + 4, ==, "iqn.2026-11.org.lunport:test,t,0x0001");
    d += 4 + d[3];
    g_assert_cmpmem(d, 3, ((guint8[]){ 0x53, 0xa8, 0 }), 3);
    g_assert_cmpstr((const char *)d + 4, ==, "iqn.2026-11.org.lunport:test");
    case_clear(&c);
}

static void
test_vpd_longest_names_fit(void)
{
    g_autofree char *iqn = g_strnfill(223, 'a');
    guint8 buffer[IDENTITY_DESIGNATORS_MAX];

    g_assert_cmpuint(identity_put_port(iqn, 1, 1, buffer), <=, sizeof(buffer));
}

static void
test_wwn_text(void)
{
    LuConfig config = { .name = "x" };
    char a[64], b[64];

    memcpy(config.uuid, rig_uuid, 16);
    lu_format_wwn(&config, a, sizeof(a));
    g_assert_true(g_str_has_prefix(a, "naa.3"));
    g_assert_cmpuint(strlen(a), ==, 20);
    config.uuid[15] ^= 1;
    lu_format_wwn(&config, b, sizeof(b));
    g_assert_cmpstr(a, !=, b);
    config.naa = G_GUINT64_CONSTANT(0x5000c50012345678);
    lu_format_wwn(&config, a, sizeof(a));
    g_assert_cmpstr(a, ==, "naa.5000c50012345678");
}

static void
test_vpd_block_limits(void)
{
    const guint8 *p;
    Case c;

    case_init(&c, &(RigConfig){ .lu = { .thin = TRUE } });
    p = ask(&c, CDB(0x12, 1, 0xb0, 0, 255, 0));
    g_assert_cmpuint(c.test.in->len, ==, 64);
    g_assert_cmpuint(p[4], ==, 1);
    g_assert_cmpuint(get_be16(p + 6), ==, 1);
    g_assert_cmpuint(get_be32(p + 8), ==, (8 << 20) / 512);
    g_assert_cmpuint(get_be32(p + 12), ==, (1 << 20) / 512);
    g_assert_cmpuint(get_be32(p + 20), ==, 1 << 20);
    g_assert_cmpuint(get_be32(p + 24), ==, 256);
    g_assert_cmpuint(get_be64(p + 36), ==, (128 << 20) / 512);
    case_clear(&c);

    /* 512e: transfers of physical blocks are best */
    case_init(&c, &(RigConfig){ .slow = { .offset_align = 4096 } });
    p = ask(&c, CDB(0x12, 1, 0xb0, 0, 255, 0));
    g_assert_cmpuint(get_be16(p + 6), ==, 8);
    g_assert_cmpuint(get_be32(p + 8), ==, (8 << 20) / 512);
    g_assert_cmpuint(get_be32(p + 20), ==, 0);
    case_clear(&c);
}

static void
test_vpd_max_transfer_of_small_pool(void)
{
    const guint8 *p;
    Case c;

    case_init(&c, &(RigConfig){ .pool_size = 8 << 20, .pool_reserve = 1 << 20 });
    p = ask(&c, CDB(0x12, 1, 0xb0, 0, 255, 0));
    g_assert_cmpuint(get_be32(p + 8), ==, (2 << 20) / 512);
    case_clear(&c);
}

static void
test_vpd_provisioning(void)
{
    const guint8 *p;
    Case c;

    case_init(&c, &(RigConfig){ .lu = { .thin = TRUE } });
    p = ask(&c, CDB(0x12, 1, 0xb2, 0, 255, 0));
    g_assert_cmpmem(p, c.test.in->len, ((guint8[]){ 0, 0xb2, 0, 4, 11, 0xe4, 0x02, 0 }), 8);
    case_clear(&c);

    case_init(&c, &(RigConfig){ 0 });
    (void)ask(&c, CDB(0x12, 1, 0xb2, 0, 255, 0));
    test_assert_field(&c.test, TRUE, 2, 7);
    case_clear(&c);
}

static void
test_vpd_extended(void)
{
    const guint8 *p;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    p = ask(&c, CDB(0x12, 1, 0x86, 0, 255, 0));
    g_assert_cmpuint(c.test.in->len, ==, 64);
    g_assert_cmpmem(p + 4, 4, ((guint8[]){ 0, 0x07, 0x01, 0x01 }), 4);
    p = ask(&c, CDB(0x12, 1, 0xb1, 0, 255, 0));
    g_assert_cmpuint(get_be16(p + 4), ==, 1);
    case_clear(&c);
}

static void
test_capacity_10(void)
{
    const guint8 *p;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    p = ask(&c, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    g_assert_cmpmem(p, c.test.in->len, ((guint8[]){ 0, 0, 0x07, 0xff, 0, 0, 2, 0 }), 8);
    case_clear(&c);
}

static void
test_capacity_10_of_large_unit(void)
{
    const guint8 *p;
    Case c;

    case_init(&c, &(RigConfig){ .type = "null", .size = (guint64)3 << 40 });
    p = ask(&c, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    g_assert_cmphex(get_be32(p), ==, 0xffffffff);
    p = ask(&c, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0));
    g_assert_cmphex(get_be64(p), ==, ((guint64)3 << 40) / 512 - 1);
    case_clear(&c);
}

static void
test_capacity_16(void)
{
    const guint8 *p;
    Case c;

    case_init(&c, &(RigConfig){ .slow = { .offset_align = 4096, .thin = TRUE } });
    p = ask(&c, CDB(0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0));
    g_assert_cmpuint(c.test.in->len, ==, 32);
    g_assert_cmpmem(p, 16, ((guint8[]){ 0, 0, 0, 0, 0, 0, 0x07, 0xff, 0, 0, 2, 0, 0, 3, 0xc0, 0 }),
                    16);
    case_clear(&c);
}

static void
test_mode_all_6(void)
{
    const guint8 *p;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    p = ask(&c, CDB(0x1a, 0, 0x3f, 0, 255, 0));
    g_assert_cmpuint(p[0] + 1U, ==, c.test.in->len);
    g_assert_cmpmem(p + 1, 11, ((guint8[]){ 0, 0x10, 8, 0, 0, 8, 0, 0, 0, 2, 0 }), 11);
    g_assert_cmpuint(c.test.in->len, ==, 4 + 8 + 12 + 16 + 20 + 12 + 40 + 12);
    case_clear(&c);
}

static void
test_mode_10_long(void)
{
    const guint8 *p;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    p = ask(&c, CDB(0x5a, 0x10, 0x08, 0, 0, 0, 0, 1, 0, 0));
    g_assert_cmpuint(get_be16(p) + 2U, ==, c.test.in->len);
    g_assert_cmpmem(p + 2, 6, ((guint8[]){ 0, 0x10, 1, 0, 0, 16 }), 6);
    g_assert_cmpuint(get_be64(p + 8), ==, 2048);
    g_assert_cmpuint(get_be32(p + 20), ==, 512);
    g_assert_cmpmem(p + 24, 3, ((guint8[]){ 0x88, 0x12, 0x04 }), 3);
    case_clear(&c);
}

static void
test_mode_without_descriptor(void)
{
    const guint8 *p;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    p = ask(&c, CDB(0x1a, 0x08, 0x0a, 0, 255, 0));
    g_assert_cmpmem(p, 8, ((guint8[]){ 15, 0, 0x10, 0, 0x8a, 0x0a, 0x20, 0x10 }), 8);
    case_clear(&c);
}

static void
test_mode_refusals(void)
{
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    (void)ask(&c, CDB(0x1a, 0, 0x05, 0, 255, 0));
    test_assert_field(&c.test, TRUE, 2, 5);
    (void)ask(&c, CDB(0x1a, 0, 0x0a, 2, 255, 0));
    test_assert_field(&c.test, TRUE, 3, 7);
    (void)ask(&c, CDB(0x1a, 0, 0x3f, 1, 255, 0)); /* reserved */
    test_assert_field(&c.test, TRUE, 3, 7);
    (void)ask(&c, CDB(0x1a, 0, 0x3f, 0xff, 255, 0));
    test_assert_good(&c.test);
    case_clear(&c);
}

static void
test_mode_write_protect(void)
{
    const guint8 *p;
    Case c;

    case_init(&c, &(RigConfig){ .slow = { .read_only = TRUE } });
    p = ask(&c, CDB(0x1a, 0, 0x3f, 0, 255, 0));
    g_assert_cmphex(p[2], ==, 0x90);
    case_clear(&c);
}

static void
test_report_luns(void)
{
    const guint8 *p;
    LunMap *map;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    map = lun_map_new((LunEntry[]){ { .lun = 0, .lu = c.rig->lu },
                                    { .lun = 255, .lu = c.rig->lu },
                                    { .lun = 256, .lu = c.rig->lu },
                                    { .lun = 16383, .lu = c.rig->lu } },
                      4);
    nexus_set_map(c.rig->nexus, map);
    snapshot_unref(&map->snapshot);

    p = ask(&c, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0));
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.in->len, ==, 40);
    g_assert_cmpuint(get_be32(p), ==, 32);
    g_assert_cmpmem(p + 8, 2, "\x00\x00", 2);
    g_assert_cmpmem(p + 16, 2, "\x00\xff", 2);
    g_assert_cmpmem(p + 24, 2, "\x41\x00", 2);
    g_assert_cmpmem(p + 32, 2, "\x7f\xff", 2);

    p = ask(&c, CDB(0xa0, 0, 2, 0, 0, 0, 0, 0, 0, 44, 0, 0));
    g_assert_cmpuint(get_be32(p), ==, 40);
    g_assert_cmpuint(c.test.in->len, ==, 44);
    p = ask(&c, CDB(0xa0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0));
    g_assert_cmpmem(p, c.test.in->len, "\0\0\0\x08\0\0\0\0\xc1\x01\0\0\0\0\0\0", 16);
    p = ask(&c, CDB(0xa0, 0, 0x11, 0, 0, 0, 0, 0, 1, 0, 0, 0));
    g_assert_cmpuint(get_be32(p), ==, 32);
    p = ask(&c, CDB(0xa0, 0, 0x10, 0, 0, 0, 0, 0, 1, 0, 0, 0));
    g_assert_cmpuint(get_be32(p), ==, 0);
    p = ask(&c, CDB(0xa0, 0, 0x12, 0, 0, 0, 0, 0, 1, 0, 0, 0));
    g_assert_cmpuint(get_be32(p), ==, 0);
    (void)ask(&c, CDB(0xa0, 0, 3, 0, 0, 0, 0, 0, 1, 0, 0, 0));
    test_assert_field(&c.test, TRUE, 2, 7);
    case_clear(&c);
}

static void
test_report_luns_elsewhere(void)
{
    static const guint8 lun7[8] = { 0, 7 }, well_known[8] = { 0xc1, 0x01 };
    LunMap *map;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    (void)ask_lun(&c, well_known, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0));
    g_assert_cmpuint(c.test.in->len, ==, 16);
    (void)ask_lun(&c, lun7, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0));
    test_assert_sense(&c.test, SENSE_LU_NOT_SUPPORTED);

    map = lun_map_new(NULL, 0);
    nexus_set_map(c.rig->nexus, map);
    snapshot_unref(&map->snapshot);
    (void)ask(&c, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0));
    test_assert_good(&c.test);
    g_assert_cmpuint(c.test.in->len, ==, 8);
    case_clear(&c);
}

static void
test_lun_addressing(void)
{
    static const guint8 flat0[8] = { 0x40, 0 }, bus1[8] = { 1, 0 }, method2[8] = { 0x80, 0 },
                        second[8] = { 0, 0, 0, 1 };
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    (void)ask_lun(&c, flat0, CDB(0x00, 0, 0, 0, 0, 0));
    test_assert_good(&c.test);
    (void)ask_lun(&c, bus1, CDB(0x00, 0, 0, 0, 0, 0));
    test_assert_sense(&c.test, SENSE_LU_NOT_SUPPORTED);
    (void)ask_lun(&c, method2, CDB(0x00, 0, 0, 0, 0, 0));
    test_assert_sense(&c.test, SENSE_LU_NOT_SUPPORTED);
    (void)ask_lun(&c, second, CDB(0x00, 0, 0, 0, 0, 0));
    test_assert_sense(&c.test, SENSE_LU_NOT_SUPPORTED);
    case_clear(&c);
}

static void
test_request_sense(void)
{
    static const guint8 lun7[8] = { 0, 7 };
    const guint8 *p;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    p = ask(&c, CDB(0x03, 0, 0, 0, 252, 0));
    g_assert_cmpuint(c.test.in->len, ==, 18);
    g_assert_cmphex(p[0], ==, 0x70);
    g_assert_cmphex(p[2], ==, 0);
    p = ask(&c, CDB(0x03, 1, 0, 0, 252, 0));
    g_assert_cmpmem(p, c.test.in->len, "\x72\0\0\0\0\0\0\0", 8);
    p = ask_lun(&c, lun7, CDB(0x03, 0, 0, 0, 252, 0));
    test_assert_good(&c.test);
    g_assert_cmphex(p[2], ==, 5);
    g_assert_cmphex(p[12], ==, 0x25);
    case_clear(&c);
}

static gboolean
is_told(const Operation *row, LuDevice device)
{
    gboolean is_set_groups = row->opcode == 0xa4 && row->service_action == 0x0a;

    return (row->devices & 1U << device) && !is_set_groups; /* explicit ALUA is off here */
}

/* One descriptor for each row of the table that is about such a unit */
static void
check_rsoc_all(LuDevice device)
{
    const guint8 *p, *d;
    guint n_rows, n = 0;
    const Operation *rows = optable_rows(&n_rows);
    Case c;

    case_init(&c, &(RigConfig){ .lu = { .thin = TRUE, .removable = TRUE, .device = device } });
    p = ask(&c, CDB(0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0));
    g_assert_cmpuint(get_be32(p) + 4, ==, c.test.in->len);
    for (d = p + 4; d < p + c.test.in->len; d += 8, n++) {
        while (n < n_rows && !is_told(&rows[n], device))
            n++;
        g_assert_cmpuint(n, <, n_rows);
        g_assert_cmphex(d[0], ==, rows[n].opcode);
        g_assert_cmphex(get_be16(d + 2), ==, rows[n].service_action);
        g_assert_cmphex(d[5], ==, rows[n].has_service_action ? 1 : 0);
        g_assert_cmpuint(get_be16(d + 6), ==, rows[n].cdb_length);
    }
    for (; n < n_rows; n++)
        g_assert_false(is_told(&rows[n], device));
    case_clear(&c);
}

static void
test_rsoc_all(void)
{
    check_rsoc_all(LU_DISK);
    check_rsoc_all(LU_CDROM);
}

static void
test_rsoc_all_with_timeouts(void)
{
    const guint8 *p;
    Case c;

    case_init(&c, &(RigConfig){ .lu = { .thin = TRUE } });
    p = ask(&c, CDB(0xa3, 0x0c, 0x80, 0, 0, 0, 0, 0, 16, 0, 0, 0));
    g_assert_cmpuint(get_be32(p) % 20, ==, 0);
    g_assert_cmphex(p[4 + 5], ==, 0x02);
    g_assert_cmpuint(get_be16(p + 4 + 8), ==, 10);
    case_clear(&c);
}

static void
test_rsoc_hides_unmap(void)
{
    const guint8 *p;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    p = ask(&c, CDB(0xa3, 0x0c, 1, 0x42, 0, 0, 0, 0, 1, 0, 0, 0));
    g_assert_cmpmem(p, c.test.in->len, "\0\x01\0\0", 4);
    (void)ask(&c, CDB(0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0));
    test_assert_sense(&c.test, SENSE_INVALID_OPCODE);
    case_clear(&c);
}

static void
test_rsoc_one(void)
{
    const guint8 *p;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    p = ask(&c, CDB(0xa3, 0x0c, 1, 0x28, 0, 0, 0, 0, 1, 0, 0, 0));
    g_assert_cmpmem(p, c.test.in->len, "\0\x03\0\x0a\x28\x18\xff\xff\xff\xff\0\xff\xff\0", 14);
    p = ask(&c, CDB(0xa3, 0x0c, 0x82, 0x9e, 0, 0x10, 0, 0, 1, 0, 0, 0));
    g_assert_cmpmem(p, 6, "\0\x83\0\x10\x9e\x10", 6);
    g_assert_cmpuint(c.test.in->len, ==, 4 + 16 + 12);
    case_clear(&c);
}

static void
test_rsoc_wrong_option(void)
{
    const guint8 *p;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    (void)ask(&c, CDB(0xa3, 0x0c, 1, 0x9e, 0, 0, 0, 0, 1, 0, 0, 0));
    test_assert_field(&c.test, TRUE, 2, 2);
    (void)ask(&c, CDB(0xa3, 0x0c, 2, 0x28, 0, 0, 0, 0, 1, 0, 0, 0));
    test_assert_field(&c.test, TRUE, 2, 2);
    (void)ask(&c, CDB(0xa3, 0x0c, 7, 0x28, 0, 0, 0, 0, 1, 0, 0, 0));
    test_assert_field(&c.test, TRUE, 2, 2);
    p = ask(&c, CDB(0xa3, 0x0c, 2, 0x9e, 0, 0x1f, 0, 0, 1, 0, 0, 0));
    g_assert_cmphex(p[1], ==, 1);
    p = ask(&c, CDB(0xa3, 0x0c, 1, 0xee, 0, 0, 0, 0, 1, 0, 0, 0));
    g_assert_cmphex(p[1], ==, 1);
    case_clear(&c);
}

/* With or without service actions: what is not there is told, not refused */
static void
test_rsoc_either(void)
{
    const guint8 *p;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    p = ask(&c, CDB(0xa3, 0x0c, 3, 0x28, 0, 0, 0, 0, 1, 0, 0, 0));
    g_assert_cmpmem(p, c.test.in->len, "\0\x03\0\x0a\x28\x18\xff\xff\xff\xff\0\xff\xff\0", 14);
    p = ask(&c, CDB(0xa3, 0x0c, 3, 0x28, 0, 1, 0, 0, 1, 0, 0, 0));
    g_assert_cmpmem(p, c.test.in->len, "\0\x01\0\0", 4);
    p = ask(&c, CDB(0xa3, 0x0c, 3, 0x9e, 0, 0x10, 0, 0, 1, 0, 0, 0));
    g_assert_cmpmem(p, 6, "\0\x03\0\x10\x9e\x10", 6);
    p = ask(&c, CDB(0xa3, 0x0c, 3, 0x9e, 0, 0x1f, 0, 0, 1, 0, 0, 0));
    g_assert_cmpmem(p, c.test.in->len, "\0\x01\0\0", 4);
    p = ask(&c, CDB(0xa3, 0x0c, 3, 0x9e, 1, 0x10, 0, 0, 1, 0, 0, 0));
    g_assert_cmpmem(p, c.test.in->len, "\0\x01\0\0", 4);
    p = ask(&c, CDB(0xa3, 0x0c, 3, 0x7f, 0, 9, 0, 0, 1, 0, 0, 0));
    g_assert_cmpmem(p, c.test.in->len, "\0\x01\0\0", 4);
    (void)ask(&c, CDB(0xa3, 0x0c, 4, 0x28, 0, 0, 0, 0, 1, 0, 0, 0));
    test_assert_field(&c.test, TRUE, 2, 2);
    case_clear(&c);
}

static void
test_report_tmfs(void)
{
    const guint8 *p;
    Case c;

    case_init(&c, &(RigConfig){ 0 });
    p = ask(&c, CDB(0xa3, 0x0d, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0));
    g_assert_cmpmem(p, c.test.in->len, "\xda\0\0\0", 4);
    p = ask(&c, CDB(0xa3, 0x0d, 0x80, 0, 0, 0, 0, 0, 1, 0, 0, 0));
    g_assert_cmpuint(c.test.in->len, ==, 16);
    g_assert_cmpuint(p[3], ==, 12);
    case_clear(&c);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add_func("/scsi/inquiry/" name, fn)
    ADD("standard", test_standard);
    ADD("truncated", test_truncated);
    ADD("less-room-than-asked", test_less_room_than_asked);
    ADD("configured-identity", test_configured_identity);
    ADD("page-code-without-evpd", test_page_code_without_evpd);
    ADD("no-unit", test_no_unit);
    ADD("well-known-unit", test_well_known_unit);
    ADD("well-known-unit-vpd", test_well_known_unit_vpd);
    ADD("vpd-device-type", test_vpd_device_type);
    ADD("vpd-list", test_vpd_list);
    ADD("vpd-small-pages", test_vpd_small_pages);
    ADD("vpd-ports", test_vpd_ports);
    ADD("ports-of-groups", test_ports_of_groups);
    ADD("removable-bit", test_removable_bit);
    ADD("vpd-unknown", test_vpd_unknown);
    ADD("vpd-serial", test_vpd_serial);
    ADD("vpd-identification", test_vpd_identification);
    ADD("vpd-longest-names-fit", test_vpd_longest_names_fit);
    ADD("wwn-text", test_wwn_text);
    ADD("vpd-block-limits", test_vpd_block_limits);
    ADD("vpd-max-transfer-of-small-pool", test_vpd_max_transfer_of_small_pool);
    ADD("vpd-provisioning", test_vpd_provisioning);
    ADD("vpd-extended", test_vpd_extended);
    ADD("capacity-10", test_capacity_10);
    ADD("capacity-10-of-large-unit", test_capacity_10_of_large_unit);
    ADD("capacity-16", test_capacity_16);
    ADD("mode-all-6", test_mode_all_6);
    ADD("mode-10-long", test_mode_10_long);
    ADD("mode-without-descriptor", test_mode_without_descriptor);
    ADD("mode-refusals", test_mode_refusals);
    ADD("mode-write-protect", test_mode_write_protect);
    ADD("report-luns", test_report_luns);
    ADD("report-luns-elsewhere", test_report_luns_elsewhere);
    ADD("lun-addressing", test_lun_addressing);
    ADD("request-sense", test_request_sense);
    ADD("rsoc-all", test_rsoc_all);
    ADD("rsoc-all-with-timeouts", test_rsoc_all_with_timeouts);
    ADD("rsoc-hides-unmap", test_rsoc_hides_unmap);
    ADD("rsoc-one", test_rsoc_one);
    ADD("rsoc-wrong-option", test_rsoc_wrong_option);
    ADD("rsoc-either", test_rsoc_either);
    ADD("report-tmfs", test_report_tmfs);
    return g_test_run();
}
