/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * PERSISTENT RESERVE OUT with TransportIDs that name an initiator without its port
 *
 * sg_persist sends these when it is given a mere name. Initiator a asks, on
 * worker 0; host2 and host3 have sessions on both workers, through target ports
 * 1 and 2.
 */

#include "scsi/pr-known.h"

#include <string.h>

#include "fixture.h"
#include "scsi/transport-id.h"
#include "util/bytes.h"

#define REGISTER          0
#define RESERVE           1
#define CLEAR             3
#define REGISTER_AND_MOVE 7

#define SPEC_I_PT 0x08
#define ALL_TG_PT 0x04

#define KEY   0x1111aaaa1111aaaaU
#define OTHER 0x2222bbbb2222bbbbU

#define HOST1 "iqn.2026-11.org.example:host1"
#define HOST2 "iqn.2026-11.org.example:host2"
#define HOST3 "iqn.2026-11.org.example:host3"

static Rig *
rig_of_two(void)
{
    return rig_new(&(RigConfig){ .n_workers = 2 });
}

static Nexus *
log_in(Rig *rig, guint worker, const char *port_name, guint16 target_port)
{
    const NexusConfig config = {
        .initiator_port_name = port_name,
        .target_name = rig->nexus->target_name,
        .relative_target_port = target_port,
        .target_port_group = 1,
    };
    Nexus *nexus = nexus_new(rig->workers[worker], &config, rig->map);

    nexus->luns[0]->attentions.n = 0;
    return nexus;
}

static guint32
put_initiator(const char *name, guint8 *data)
{
    guint32 length = (guint32)MAX(round_up(strlen(name) + 1, 4), 20);

    memset(data, 0, 4 + length);
    data[0] = 0x05;
    put_be16(data + 2, (guint16)length);
    memcpy(data + 4, name, strlen(name));
    return 4 + length;
}

static void
add(GByteArray *list, guint at, const char *name)
{
    guint8 id[TRANSPORT_ID_MAX];
    guint32 length =
        strchr(name, ',') != NULL ? transport_id_put(name, id) : put_initiator(name, id);

    g_byte_array_append(list, id, length);
    put_be32(list->data + at, get_be32(list->data + at) + length);
}

static ScsiStatus
run(Rig *rig, TestCommand *test, guint8 action, guint8 type, const GByteArray *list)
{
    return test_execute(
        rig, rig->nexus, test,
        CDB(0x5f, action, type, 0, 0, 0, 0, (guint8)(list->len >> 8), (guint8)list->len, 0), 0,
        list->data, list->len);
}

/* REGISTER for those in @names, which ends with NULL */
static ScsiStatus
register_for(Rig *rig, TestCommand *test, guint8 flags, const char *const *names)
{
    g_autoptr(GByteArray) list = g_byte_array_new();
    guint8 head[28] = { 0 };

    put_be64(head + 8, KEY);
    head[20] = SPEC_I_PT | flags;
    g_byte_array_append(list, head, sizeof(head));
    for (; *names != NULL; names++)
        add(list, 24, *names);
    return run(rig, test, REGISTER, 0, list);
}

#define NAMES(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }

static ScsiStatus
move_to(Rig *rig, TestCommand *test, guint16 port, const char *name)
{
    g_autoptr(GByteArray) list = g_byte_array_new();
    guint8 head[24] = { 0 };

    put_be64(head, KEY);
    put_be64(head + 8, OTHER);
    put_be16(head + 18, port);
    g_byte_array_append(list, head, sizeof(head));
    add(list, 20, name);
    return run(rig, test, REGISTER_AND_MOVE, 0, list);
}

static void
simple(Rig *rig, guint8 action, guint8 type, guint64 key, guint64 action_key)
{
    g_autoptr(GByteArray) list = g_byte_array_new();
    TestCommand test;
    guint8 head[24] = { 0 };

    put_be64(head, key);
    put_be64(head + 8, action_key);
    g_byte_array_append(list, head, sizeof(head));
    g_assert_cmphex(run(rig, &test, action, type, list), ==, SCSI_GOOD);
    test_command_clear(&test);
}

static gboolean
is_registered(const Rig *rig, const char *port_name, guint16 target_port)
{
    const Reservations *now = rig->lu->reservations;

    for (guint i = 0; i < now->n; i++) {
        const NexusName *name = &now->entries[i].nexus;

        if (strcmp(name->name, port_name) == 0 && name->port == target_port)
            return TRUE;
    }
    return FALSE;
}

/* All ports of the name, on every worker, and nobody else's */
static void
test_all_ports(void)
{
    Rig *rig = rig_of_two();
    Nexus *first = log_in(rig, 0, HOST2 ",i,0x00023d000001", 1);
    Nexus *second = log_in(rig, 1, HOST2 ",i,0x00023d000002", 1);
    Nexus *longer = log_in(rig, 1, HOST2 "0,i,0x00023d000003", 1);
    Nexus *elsewhere = log_in(rig, 1, HOST2 ",i,0x00023d000004", 2);
    TestCommand test;

    g_assert_cmphex(register_for(rig, &test, 0, NAMES(HOST2)), ==, SCSI_GOOD);
    test_command_clear(&test);
    g_assert_cmpuint(rig->lu->reservations->n, ==, 3);
    g_assert_cmpuint(rig->lu->reservations->generation, ==, 1);
    g_assert_true(is_registered(rig, HOST1 ",i,0x000000000001", 1));
    g_assert_true(is_registered(rig, HOST2 ",i,0x00023d000001", 1));
    g_assert_true(is_registered(rig, HOST2 ",i,0x00023d000002", 1));

    nexus_free(elsewhere);
    nexus_free(longer);
    nexus_free(second);
    nexus_free(first);
    rig_free(rig);
}

/* With ALL_TG_PT those who come through the other ports are meant too */
static void
test_all_target_ports(void)
{
    Rig *rig = rig_of_two();
    guint32 target = lu_target_id(rig->nexus->target_name);
    const LuPort ports[] = { { .relative_port = 1, .target = target },
                             { .relative_port = 2, .target = target } };
    Nexus *first = log_in(rig, 0, HOST2 ",i,0x00023d000001", 1);
    Nexus *second = log_in(rig, 1, HOST2 ",i,0x00023d000001", 2);
    Nexus *third = log_in(rig, 1, HOST2 ",i,0x00023d000002", 2);
    TestCommand test;

    lu_set_target_ports(rig->lu, ports, G_N_ELEMENTS(ports));
    g_assert_cmphex(register_for(rig, &test, ALL_TG_PT, NAMES(HOST2)), ==, SCSI_GOOD);
    test_command_clear(&test);
    g_assert_cmpuint(rig->lu->reservations->n, ==, 6);
    g_assert_true(is_registered(rig, HOST2 ",i,0x00023d000001", 2));
    g_assert_true(is_registered(rig, HOST2 ",i,0x00023d000002", 1));

    nexus_free(third);
    nexus_free(second);
    nexus_free(first);
    rig_free(rig);
}

/* In one list with a whole port, and the name in capitals */
static void
test_both_forms(void)
{
    Rig *rig = rig_of_two();
    Nexus *second = log_in(rig, 1, HOST2 ",i,0x00023d000001", 1);
    TestCommand test;

    g_assert_cmphex(register_for(rig, &test, 0,
                                 NAMES(HOST3 ",i,0x00023d000009", "IQN.2026-11.org.example:HOST2")),
                    ==, SCSI_GOOD);
    test_command_clear(&test);
    g_assert_cmpuint(rig->lu->reservations->n, ==, 3);
    g_assert_true(is_registered(rig, HOST3 ",i,0x00023d000009", 1));
    g_assert_true(is_registered(rig, HOST2 ",i,0x00023d000001", 1));
    nexus_free(second);
    rig_free(rig);
}

/* The one who asks is one of those whom his own name means */
static void
test_own_name(void)
{
    Rig *rig = rig_of_two();
    TestCommand test;

    g_assert_cmphex(register_for(rig, &test, 0, NAMES(HOST1)), ==, SCSI_GOOD);
    test_command_clear(&test);
    g_assert_cmpuint(rig->lu->reservations->n, ==, 1);
    rig_free(rig);
}

/* Nobody of that name is logged in through this target port: nothing is registered at all */
static void
test_unknown(void)
{
    Rig *rig = rig_of_two();
    Nexus *second = log_in(rig, 1, HOST2 ",i,0x00023d000001", 1);
    Nexus *elsewhere = log_in(rig, 1, HOST3 ",i,0x00023d000001", 2);
    TestCommand test;

    (void)register_for(rig, &test, 0, NAMES(HOST2, HOST3));
    test_assert_field(&test, FALSE, 28 + 36, 7);
    test_command_clear(&test);
    g_assert_cmpuint(rig->lu->reservations->n, ==, 0);
    g_assert_cmpuint(rig->lu->reservations->generation, ==, 0);
    nexus_free(elsewhere);
    nexus_free(second);
    rig_free(rig);
}

/* Of the ports that are meant one is registered: nothing is changed */
static void
test_registered_already(void)
{
    Rig *rig = rig_of_two();
    Nexus *second = log_in(rig, 1, HOST2 ",i,0x00023d000001", 1);
    Nexus *third = log_in(rig, 0, HOST2 ",i,0x00023d000002", 1);
    TestCommand test;

    g_assert_cmphex(register_for(rig, &test, 0, NAMES(HOST2 ",i,0x00023d000002")), ==, SCSI_GOOD);
    test_command_clear(&test);
    simple(rig, REGISTER, 0, KEY, 0);
    g_assert_cmpuint(rig->lu->reservations->n, ==, 1);

    (void)register_for(rig, &test, 0, NAMES(HOST2));
    test_assert_field(&test, FALSE, 28, 7);
    test_command_clear(&test);
    g_assert_cmpuint(rig->lu->reservations->n, ==, 1);
    nexus_free(third);
    nexus_free(second);
    rig_free(rig);
}

static void
test_move(void)
{
    Rig *rig = rig_of_two();
    Nexus *second = log_in(rig, 1, HOST2 ",i,0x00023d000001", 2);
    Nexus *elsewhere = log_in(rig, 1, HOST2 ",i,0x00023d000002", 1);
    const LuPort ports[] = { { .relative_port = 2,
                               .target = lu_target_id(rig->nexus->target_name) } };
    TestCommand test;

    lu_set_target_ports(rig->lu, ports, G_N_ELEMENTS(ports));
    simple(rig, REGISTER, 0, 0, KEY);
    simple(rig, RESERVE, 3, KEY, 0);
    g_assert_cmphex(move_to(rig, &test, 2, HOST2), ==, SCSI_GOOD);
    test_command_clear(&test);
    g_assert_true(is_registered(rig, HOST2 ",i,0x00023d000001", 2));
    g_assert_cmphex(second->luns[0]->denied, ==, 0);
    g_assert_cmphex(elsewhere->luns[0]->denied, !=, 0);
    g_assert_cmphex(rig->nexus->luns[0]->denied, !=, 0);
    nexus_free(elsewhere);
    nexus_free(second);
    rig_free(rig);
}

/* Who has left, but is registered, can be moved to */
static void
test_move_to_the_registered(void)
{
    Rig *rig = rig_of_two();
    TestCommand test;

    g_assert_cmphex(register_for(rig, &test, 0, NAMES(HOST2 ",i,0x00023d000002")), ==, SCSI_GOOD);
    test_command_clear(&test);
    simple(rig, RESERVE, 3, KEY, 0);
    g_assert_cmphex(move_to(rig, &test, 1, HOST2), ==, SCSI_GOOD);
    test_command_clear(&test);
    g_assert_cmphex(rig->lu->reservations->entries[rig->lu->reservations->holder].key, ==, OTHER);
    rig_free(rig);
}

static void
test_move_is_ambiguous(void)
{
    Rig *rig = rig_of_two();
    Nexus *second = log_in(rig, 1, HOST2 ",i,0x00023d000001", 1);
    Nexus *third = log_in(rig, 0, HOST2 ",i,0x00023d000002", 1);
    TestCommand test;

    simple(rig, REGISTER, 0, 0, KEY);
    simple(rig, RESERVE, 3, KEY, 0);
    (void)move_to(rig, &test, 1, HOST2);
    test_assert_field(&test, FALSE, 24, 7);
    test_command_clear(&test);

    /* Nobody, and oneself */
    (void)move_to(rig, &test, 1, HOST3);
    test_assert_field(&test, FALSE, 24, 7);
    test_command_clear(&test);
    (void)move_to(rig, &test, 1, HOST1);
    test_assert_field(&test, FALSE, 24, 7);
    test_command_clear(&test);
    g_assert_cmpuint(rig->lu->reservations->n, ==, 1);
    nexus_free(third);
    nexus_free(second);
    rig_free(rig);
}

/* More of them than there may be registrations */
static void
test_too_many(void)
{
    Rig *rig = rig_of_two();
    g_autoptr(GPtrArray) nexuses = g_ptr_array_new_with_free_func((GDestroyNotify)nexus_free);
    TestCommand test;

    for (guint i = 0; i < REGISTRATIONS_MAX + 10; i++) {
        g_autofree char *name = g_strdup_printf(HOST2 ",i,0x%012x", i);

        g_ptr_array_add(nexuses, log_in(rig, 1, name, 1));
    }
    (void)register_for(rig, &test, 0, NAMES(HOST2));
    test_assert_sense(&test, SENSE_INSUFFICIENT_REGISTRATIONS);
    test_command_clear(&test);
    g_assert_cmpuint(rig->lu->reservations->n, ==, 0);

    g_ptr_array_set_size(nexuses, 20);
    g_assert_cmphex(register_for(rig, &test, 0, NAMES(HOST2)), ==, SCSI_GOOD);
    test_command_clear(&test);
    g_assert_cmpuint(rig->lu->reservations->n, ==, 21);
    simple(rig, CLEAR, 0, KEY, 0);
    g_ptr_array_set_size(nexuses, 0);
    rig_free(rig);
}

/* What is no name, and other formats */
static void
test_form(void)
{
    static const char *const names[] = { "host2", "iqn.2026-11.org.example:host 2", "" };
    Rig *rig = rig_of_two();
    g_autoptr(GByteArray) list = g_byte_array_new();
    guint8 head[28] = { [20] = SPEC_I_PT };
    TestCommand test;

    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        (void)register_for(rig, &test, 0, NAMES(names[i]));
        test_assert_field(&test, FALSE, 32, 7);
        test_command_clear(&test);
    }

    put_be64(head + 8, KEY);
    g_byte_array_append(list, head, sizeof(head));
    add(list, 24, HOST2);
    list->data[28] = 0x85;
    (void)run(rig, &test, REGISTER, 0, list);
    test_assert_field(&test, FALSE, 28, 7);
    test_command_clear(&test);

    /* A name that goes to the end without a null character */
    list->data[28] = 0x05;
    memset(list->data + 32, 'a', list->len - 32);
    memcpy(list->data + 32, "iqn.2026-11.org.example:", 24);
    (void)run(rig, &test, REGISTER, 0, list);
    test_assert_field(&test, FALSE, 32, 7);
    test_command_clear(&test);
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add_func("/scsi/pr-known/" name, fn)
    ADD("all-ports", test_all_ports);
    ADD("all-target-ports", test_all_target_ports);
    ADD("both-forms", test_both_forms);
    ADD("own-name", test_own_name);
    ADD("unknown", test_unknown);
    ADD("registered-already", test_registered_already);
    ADD("move", test_move);
    ADD("move-to-the-registered", test_move_to_the_registered);
    ADD("move-is-ambiguous", test_move_is_ambiguous);
    ADD("too-many", test_too_many);
    ADD("form", test_form);
#undef ADD
    return g_test_run();
}
