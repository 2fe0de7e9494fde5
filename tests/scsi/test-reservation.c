/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Persistent reservations, and RESERVE and RELEASE
 *
 * Two or three initiators on two workers. Each test is a story: what they ask
 * for in turn, and what each of them may do then.
 */

#include "scsi/record.h"
#include "scsi/reservation.h"

#include <string.h>

#include "fixture.h"
#include "scsi/transport-id.h"
#include "util/bytes.h"
#include "util/error.h"

enum {
    REGISTER = 0,
    RESERVE = 1,
    RELEASE = 2,
    CLEAR = 3,
    PREEMPT = 4,
    PREEMPT_AND_ABORT = 5,
    REGISTER_AND_IGNORE = 6,
    REGISTER_AND_MOVE = 7,
};

#define KEY_A 0x1111aaaa1111aaaaU
#define KEY_B 0x2222bbbb2222bbbbU

static const char *const port_names[] = { "", "iqn.2026-11.org.example:host1,i,0x000000000001",
                                          "iqn.2026-11.org.example:host2,i,0x000000000002",
                                          "iqn.2026-11.org.example:host3,i,0x000000000003" };

/* Initiator a is on worker 0, which is the home, b on worker 1 */
typedef struct {
    Rig *rig;
    Nexus *a;
    Nexus *b;
} Pair;

static Pair
pair_new(const RigConfig *config)
{
    RigConfig own = config != NULL ? *config : (RigConfig){ 0 };
    Pair pair;

    own.n_workers = 2;
    pair.rig = rig_new(&own);
    pair.a = pair.rig->nexus;
    pair.b = rig_new_nexus(pair.rig, 1, 2);
    return pair;
}

static void
pair_free(Pair *pair)
{
    nexus_free(pair->b);
    rig_free(pair->rig);
}

static void
fill_list(guint8 list[24], guint64 key, guint64 action_key, guint8 flags)
{
    memset(list, 0, 24);
    put_be64(list, key);
    put_be64(list + 8, action_key);
    list[20] = flags;
}

/* PERSISTENT RESERVE OUT with its sense in @test */
static ScsiStatus
out_test(Rig *rig, Nexus *nexus, TestCommand *test, guint8 action, guint8 type, const guint8 *list,
         gsize size)
{
    return test_execute(rig, nexus, test,
                        CDB(0x5f, action, type, 0, 0, 0, 0, (guint8)(size >> 8), (guint8)size, 0),
                        0, list, size);
}

static ScsiStatus
out_flags(Rig *rig, Nexus *nexus, guint8 action, guint8 type, guint64 key, guint64 action_key,
          guint8 flags)
{
    guint8 list[24];
    TestCommand test;
    ScsiStatus status;

    fill_list(list, key, action_key, flags);
    status = out_test(rig, nexus, &test, action, type, list, sizeof(list));
    test_command_clear(&test);
    return status;
}

static ScsiStatus
out(Rig *rig, Nexus *nexus, guint8 action, guint8 type, guint64 key, guint64 action_key)
{
    return out_flags(rig, nexus, action, type, key, action_key, 0);
}

/* The same where it has to be refused with sense: the caller looks at @test and clears it */
static void
out_fails(Rig *rig, Nexus *nexus, TestCommand *test, guint8 action, guint8 type, guint64 key,
          guint64 action_key, guint8 flags)
{
    guint8 list[24];

    fill_list(list, key, action_key, flags);
    g_assert_cmphex(out_test(rig, nexus, test, action, type, list, sizeof(list)), ==,
                    SCSI_CHECK_CONDITION);
}

static GByteArray *
in(Rig *rig, Nexus *nexus, guint8 action)
{
    TestCommand test;
    GByteArray *data;

    g_assert_cmphex(test_execute(rig, nexus, &test, CDB(0x5e, action, 0, 0, 0, 0, 0, 0x10, 0x00, 0),
                                 0x1000, NULL, 0),
                    ==, SCSI_GOOD);
    data = g_byte_array_ref(test.in);
    test_command_clear(&test);
    return data;
}

static guint
n_keys(Rig *rig)
{
    g_autoptr(GByteArray) data = in(rig, rig->nexus, 0);

    g_assert_cmpuint(data->len, ==, 8 + get_be32(data->data + 4));
    return get_be32(data->data + 4) / 8;
}

static guint32
generation(Rig *rig)
{
    g_autoptr(GByteArray) data = in(rig, rig->nexus, 0);

    return get_be32(data->data);
}

/* The type of the reservation, 0: there is none */
static guint8
held_type(Rig *rig, guint64 *ret_key)
{
    g_autoptr(GByteArray) data = in(rig, rig->nexus, 1);

    if (data->len == 8)
        return 0;
    g_assert_cmpuint(data->len, ==, 24);
    if (ret_key != NULL)
        *ret_key = get_be64(data->data + 8);
    return data->data[21];
}

static void
assert_holder(Rig *rig, guint8 type, guint64 key)
{
    guint64 held_by = 0;

    g_assert_cmpuint(held_type(rig, &held_by), ==, type);
    g_assert_cmphex(held_by, ==, key);
}

static ScsiStatus
simple(Rig *rig, Nexus *nexus, const guint8 *cdb, gsize n, guint32 expected_in)
{
    TestCommand test;
    ScsiStatus status = test_execute(rig, nexus, &test, cdb, n, expected_in, NULL, 0);

    test_command_clear(&test);
    return status;
}

static ScsiStatus
try_read(Rig *rig, Nexus *nexus)
{
    return simple(rig, nexus, CDB(0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0), 512);
}

static ScsiStatus
try_write(Rig *rig, Nexus *nexus)
{
    static const guint8 block[512];
    TestCommand test;
    ScsiStatus status = test_execute(rig, nexus, &test, CDB(0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0), 0,
                                     block, sizeof(block));

    test_command_clear(&test);
    return status;
}

static ScsiStatus
try_ready(Rig *rig, Nexus *nexus)
{
    return simple(rig, nexus, CDB(0, 0, 0, 0, 0, 0), 0);
}

static ScsiStatus
try_mode_sense(Rig *rig, Nexus *nexus)
{
    return simple(rig, nexus, CDB(0x1a, 0, 0x3f, 0, 255, 0), 255);
}

static ScsiStatus
reserve_6(Rig *rig, Nexus *nexus)
{
    return simple(rig, nexus, CDB(0x16, 0, 0, 0, 0, 0), 0);
}

static ScsiStatus
release_6(Rig *rig, Nexus *nexus)
{
    return simple(rig, nexus, CDB(0x17, 0, 0, 0, 0, 0), 0);
}

#define assert_good(status)     g_assert_cmphex(status, ==, SCSI_GOOD)
#define assert_conflict(status) g_assert_cmphex(status, ==, SCSI_RESERVATION_CONFLICT)

/* The one unit attention that @nexus has, SENSE_NONE: it has none */
static void
assert_attention(Nexus *nexus, SenseCode code)
{
    UnitAttentions *attentions = &nexus->luns[0]->attentions;
    SenseCode first = SENSE_NONE;

    (void)unit_attention_take(attentions, &first);
    g_assert_cmpint(first, ==, code);
    g_assert_cmpuint(attentions->n, ==, 0);
}

static void
register_both(Pair *pair)
{
    assert_good(out(pair->rig, pair->a, REGISTER, 0, 0, KEY_A));
    assert_good(out(pair->rig, pair->b, REGISTER, 0, 0, KEY_B));
}

/*
 * Registering
 */

static void
test_register(void)
{
    Pair pair = pair_new(NULL);
    g_autoptr(GByteArray) keys = NULL;

    assert_good(out(pair.rig, pair.a, REGISTER, 0, 0, 0));
    g_assert_cmpuint(n_keys(pair.rig), ==, 0);
    assert_conflict(out(pair.rig, pair.a, REGISTER, 0, KEY_A, KEY_A));
    register_both(&pair);
    g_assert_cmpuint(generation(pair.rig), ==, 2);
    keys = in(pair.rig, pair.b, 0);
    g_assert_cmpuint(keys->len, ==, 24);
    g_assert_cmphex(get_be64(keys->data + 8), ==, KEY_A);
    g_assert_cmphex(get_be64(keys->data + 16), ==, KEY_B);
    pair_free(&pair);
}

static void
test_register_again(void)
{
    Pair pair = pair_new(NULL);

    register_both(&pair);
    assert_conflict(out(pair.rig, pair.a, REGISTER, 0, KEY_B, 1));
    assert_good(out(pair.rig, pair.a, REGISTER, 0, KEY_A, 7));
    assert_conflict(out(pair.rig, pair.a, REGISTER, 0, KEY_A, 0));
    assert_good(out(pair.rig, pair.a, REGISTER_AND_IGNORE, 0, 0x55, 8));
    assert_good(out(pair.rig, pair.a, REGISTER, 0, 8, 0));
    g_assert_cmpuint(n_keys(pair.rig), ==, 1);
    g_assert_cmpuint(generation(pair.rig), ==, 5);
    assert_attention(pair.a, SENSE_NONE);
    assert_attention(pair.b, SENSE_NONE);
    pair_free(&pair);
}

static void
test_unregister_of_the_unknown(void)
{
    Pair pair = pair_new(NULL);

    assert_good(out(pair.rig, pair.a, REGISTER_AND_IGNORE, 0, 0, 0));
    g_assert_cmpuint(generation(pair.rig), ==, 0);
    assert_conflict(out(pair.rig, pair.a, RESERVE, 1, 0, 0));
    assert_conflict(out(pair.rig, pair.a, CLEAR, 0, 0, 0));
    pair_free(&pair);
}

static void
test_registration_outlives_the_nexus(void)
{
    Pair pair = pair_new(NULL);

    register_both(&pair);
    assert_good(out(pair.rig, pair.b, RESERVE, 3, KEY_B, 0));
    nexus_free(pair.b);
    rig_turn(pair.rig);
    assert_conflict(try_read(pair.rig, pair.a));
    pair.b = rig_new_nexus(pair.rig, 0, 2);
    assert_good(try_read(pair.rig, pair.b));
    assert_good(out(pair.rig, pair.b, RELEASE, 3, KEY_B, 0));
    pair_free(&pair);
}

/* A port of the target of the rig */
static LuPort
own_port(guint relative_port)
{
    return (LuPort){ .relative_port = (guint16)relative_port,
                     .target = lu_target_id("iqn.2026-11.org.lunport:test") };
}

static void
test_too_many(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    LuPort ports[REGISTRATIONS_MAX + 1];
    TestCommand test;

    for (guint i = 0; i < G_N_ELEMENTS(ports); i++)
        ports[i] = own_port(i + 1);
    lu_set_target_ports(rig->lu, ports, G_N_ELEMENTS(ports));
    out_fails(rig, rig->nexus, &test, REGISTER, 0, 0, KEY_A, 0x04);
    test_assert_sense(&test, SENSE_INSUFFICIENT_REGISTRATIONS);
    test_command_clear(&test);
    g_assert_cmpuint(n_keys(rig), ==, 0);

    lu_set_target_ports(rig->lu, ports, REGISTRATIONS_MAX);
    assert_good(out_flags(rig, rig->nexus, REGISTER, 0, 0, KEY_A, 0x04));
    g_assert_cmpuint(rig->lu->reservations->n, ==, REGISTRATIONS_MAX);
    rig_free(rig);
}

static void
test_all_target_ports(void)
{
    Pair pair = pair_new(NULL);
    const LuPort ports[] = { own_port(1), own_port(5), own_port(5), own_port(9) };

    lu_set_target_ports(pair.rig->lu, ports, G_N_ELEMENTS(ports));
    assert_good(out_flags(pair.rig, pair.a, REGISTER, 0, 0, KEY_A, 0x04));
    g_assert_cmpuint(n_keys(pair.rig), ==, 3);
    assert_good(out(pair.rig, pair.a, REGISTER, 0, KEY_A, 0));
    g_assert_cmpuint(n_keys(pair.rig), ==, 2);
    assert_good(out_flags(pair.rig, pair.a, REGISTER_AND_IGNORE, 0, 0, KEY_B, 0x04));
    g_assert_cmpuint(n_keys(pair.rig), ==, 3);
    assert_good(out_flags(pair.rig, pair.a, REGISTER, 0, KEY_B, 0, 0x04));
    g_assert_cmpuint(n_keys(pair.rig), ==, 0);
    pair_free(&pair);
}

/*
 * Reserving
 */

typedef struct {
    guint8 type;
    gboolean other_reads; /* who is not registered */
    gboolean shared;      /* who is registered may do all */
} TypeCase;

static const TypeCase type_cases[] = {
    { 1, TRUE, FALSE }, { 3, FALSE, FALSE }, { 5, TRUE, TRUE },
    { 6, FALSE, TRUE }, { 7, TRUE, TRUE },   { 8, FALSE, TRUE },
};

static ScsiStatus
allowed(gboolean is_allowed)
{
    return is_allowed ? SCSI_GOOD : SCSI_RESERVATION_CONFLICT;
}

static void
check_access(Rig *rig, Nexus *nexus, gboolean reads, gboolean writes)
{
    g_assert_cmphex(try_read(rig, nexus), ==, allowed(reads));
    g_assert_cmphex(try_mode_sense(rig, nexus), ==, allowed(reads));
    g_assert_cmphex(try_write(rig, nexus), ==, allowed(writes));
    assert_good(try_ready(rig, nexus));
    assert_good(simple(rig, nexus, CDB(0x12, 0, 0, 0, 36, 0), 36));
    assert_good(simple(rig, nexus, CDB(0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0), 16));
    assert_good(simple(rig, nexus, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), 8));
    assert_good(simple(rig, nexus, CDB(0x5e, 1, 0, 0, 0, 0, 0, 0, 24, 0), 24));
}

static void
test_access(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(type_cases); i++) {
        const TypeCase *c = &type_cases[i];
        Pair pair = pair_new(NULL);
        Nexus *stranger = rig_new_nexus(pair.rig, 1, 3);

        register_both(&pair);
        assert_good(out(pair.rig, pair.a, RESERVE, c->type, KEY_A, 0));
        check_access(pair.rig, pair.a, TRUE, TRUE);
        check_access(pair.rig, pair.b, c->other_reads || c->shared, c->shared);
        check_access(pair.rig, stranger, c->other_reads, FALSE);

        assert_good(out(pair.rig, pair.a, RELEASE, c->type, KEY_A, 0));
        assert_attention(pair.b, c->shared ? SENSE_RESERVATIONS_RELEASED : SENSE_NONE);
        assert_attention(pair.a, SENSE_NONE);
        check_access(pair.rig, stranger, TRUE, TRUE);
        nexus_free(stranger);
        pair_free(&pair);
    }
}

static void
test_start_is_allowed(void)
{
    Pair pair = pair_new(NULL);

    register_both(&pair);
    assert_good(out(pair.rig, pair.a, RESERVE, 3, KEY_A, 0));
    assert_good(simple(pair.rig, pair.b, CDB(0x1b, 0, 0, 0, 1, 0), 0));
    assert_conflict(simple(pair.rig, pair.b, CDB(0x1b, 0, 0, 0, 0, 0), 0));
    pair_free(&pair);
}

static void
test_reserve_again(void)
{
    Pair pair = pair_new(NULL);

    register_both(&pair);
    assert_good(out(pair.rig, pair.a, RESERVE, 1, KEY_A, 0));
    assert_good(out(pair.rig, pair.a, RESERVE, 1, KEY_A, 0));
    assert_conflict(out(pair.rig, pair.a, RESERVE, 3, KEY_A, 0));
    assert_conflict(out(pair.rig, pair.b, RESERVE, 1, KEY_B, 0));
    assert_conflict(out(pair.rig, pair.a, RESERVE, 1, KEY_B, 0));
    assert_holder(pair.rig, 1, KEY_A);
    g_assert_cmpuint(generation(pair.rig), ==, 2);
    pair_free(&pair);
}

static void
test_all_registrants_hold(void)
{
    Pair pair = pair_new(NULL);

    register_both(&pair);
    assert_good(out(pair.rig, pair.a, RESERVE, 7, KEY_A, 0));
    assert_holder(pair.rig, 7, 0);
    assert_good(out(pair.rig, pair.b, RESERVE, 7, KEY_B, 0));
    assert_good(out(pair.rig, pair.a, REGISTER, 0, KEY_A, 0));
    assert_holder(pair.rig, 7, 0);
    assert_attention(pair.b, SENSE_NONE);
    assert_good(out(pair.rig, pair.b, REGISTER, 0, KEY_B, 0));
    g_assert_cmpuint(held_type(pair.rig, NULL), ==, 0);
    pair_free(&pair);
}

static void
test_release_in_vain(void)
{
    Pair pair = pair_new(NULL);
    TestCommand test;

    register_both(&pair);
    assert_good(out(pair.rig, pair.a, RELEASE, 1, KEY_A, 0));
    assert_good(out(pair.rig, pair.a, RESERVE, 1, KEY_A, 0));
    assert_good(out(pair.rig, pair.b, RELEASE, 1, KEY_B, 0));
    assert_conflict(out(pair.rig, pair.b, RELEASE, 1, KEY_A, 0));
    out_fails(pair.rig, pair.a, &test, RELEASE, 3, KEY_A, 0, 0);
    test_assert_sense(&test, SENSE_INVALID_RELEASE);
    test_command_clear(&test);
    assert_holder(pair.rig, 1, KEY_A);
    pair_free(&pair);
}

static void
test_holder_unregisters(void)
{
    for (guint i = 0; i < 4; i++) {
        const TypeCase *c = &type_cases[i];
        Pair pair = pair_new(NULL);

        register_both(&pair);
        assert_good(out(pair.rig, pair.a, RESERVE, c->type, KEY_A, 0));
        assert_good(out(pair.rig, pair.a, REGISTER, 0, KEY_A, 0));
        g_assert_cmpuint(held_type(pair.rig, NULL), ==, 0);
        assert_attention(pair.a, SENSE_NONE);
        assert_attention(pair.b, c->shared ? SENSE_RESERVATIONS_RELEASED : SENSE_NONE);
        pair_free(&pair);
    }
}

static void
test_clear(void)
{
    Pair pair = pair_new(NULL);

    register_both(&pair);
    assert_good(out(pair.rig, pair.a, RESERVE, 6, KEY_A, 0));
    assert_conflict(out(pair.rig, pair.b, CLEAR, 0, KEY_A, 0));
    assert_good(out(pair.rig, pair.b, CLEAR, 0, KEY_B, 0));
    assert_attention(pair.b, SENSE_NONE);
    assert_attention(pair.a, SENSE_RESERVATIONS_PREEMPTED);
    g_assert_cmpuint(n_keys(pair.rig), ==, 0);
    g_assert_cmpuint(held_type(pair.rig, NULL), ==, 0);
    g_assert_cmpuint(generation(pair.rig), ==, 3);
    pair_free(&pair);
}

/*
 * Preempting
 */

static void
test_preempt_registration(void)
{
    Pair pair = pair_new(NULL);

    register_both(&pair);
    assert_conflict(out(pair.rig, pair.a, PREEMPT, 1, KEY_A, 0x77));
    assert_good(out(pair.rig, pair.a, PREEMPT, 1, KEY_A, KEY_B));
    assert_attention(pair.a, SENSE_NONE);
    assert_attention(pair.b, SENSE_REGISTRATIONS_PREEMPTED);
    g_assert_cmpuint(n_keys(pair.rig), ==, 1);
    g_assert_cmpuint(held_type(pair.rig, NULL), ==, 0);
    g_assert_cmpuint(generation(pair.rig), ==, 3);
    pair_free(&pair);
}

static void
test_preempt_reservation(void)
{
    Pair pair = pair_new(NULL);
    Nexus *third = rig_new_nexus(pair.rig, 0, 3);

    register_both(&pair);
    assert_good(out(pair.rig, third, REGISTER, 0, 0, 0x3));
    assert_good(out(pair.rig, pair.b, RESERVE, 5, KEY_B, 0));
    assert_good(out(pair.rig, pair.a, PREEMPT, 1, KEY_A, KEY_B));
    assert_holder(pair.rig, 1, KEY_A);
    assert_attention(pair.a, SENSE_NONE);
    assert_attention(pair.b, SENSE_REGISTRATIONS_PREEMPTED);
    assert_attention(third, SENSE_RESERVATIONS_RELEASED);
    assert_conflict(try_write(pair.rig, pair.b));
    assert_good(try_write(pair.rig, pair.a));

    /* The same type: nobody else is told */
    assert_good(out(pair.rig, third, PREEMPT, 1, 0x3, KEY_A));
    assert_attention(third, SENSE_NONE);
    assert_attention(pair.a, SENSE_REGISTRATIONS_PREEMPTED);
    assert_attention(pair.b, SENSE_NONE);
    nexus_free(third);
    pair_free(&pair);
}

static void
test_preempt_oneself(void)
{
    Pair pair = pair_new(NULL);

    register_both(&pair);
    assert_good(out(pair.rig, pair.a, RESERVE, 1, KEY_A, 0));
    assert_good(out(pair.rig, pair.a, PREEMPT, 6, KEY_A, KEY_A));
    assert_holder(pair.rig, 6, KEY_A);
    g_assert_cmpuint(n_keys(pair.rig), ==, 2);
    assert_attention(pair.a, SENSE_NONE);
    assert_attention(pair.b, SENSE_RESERVATIONS_RELEASED);
    pair_free(&pair);
}

static void
test_preempt_all_registrants(void)
{
    Pair pair = pair_new(NULL);
    Nexus *third = rig_new_nexus(pair.rig, 0, 3);

    register_both(&pair);
    assert_good(out(pair.rig, third, REGISTER, 0, 0, 0x3));
    assert_good(out(pair.rig, pair.a, RESERVE, 8, KEY_A, 0));
    assert_good(out(pair.rig, pair.a, PREEMPT, 3, KEY_A, 0x3));
    assert_holder(pair.rig, 8, 0);
    assert_attention(third, SENSE_REGISTRATIONS_PREEMPTED);
    assert_attention(pair.b, SENSE_NONE);
    assert_good(out(pair.rig, pair.a, PREEMPT, 3, KEY_A, 0));
    assert_holder(pair.rig, 3, KEY_A);
    g_assert_cmpuint(n_keys(pair.rig), ==, 1);
    assert_attention(pair.b, SENSE_REGISTRATIONS_PREEMPTED);
    nexus_free(third);
    pair_free(&pair);
}

static void
test_preempt_nobody(void)
{
    Pair pair = pair_new(NULL);
    TestCommand test;

    register_both(&pair);
    out_fails(pair.rig, pair.a, &test, PREEMPT, 1, KEY_A, 0, 0);
    test_assert_field(&test, FALSE, 8, 7);
    test_command_clear(&test);
    assert_good(out(pair.rig, pair.a, RESERVE, 1, KEY_A, 0));
    out_fails(pair.rig, pair.b, &test, PREEMPT_AND_ABORT, 1, KEY_B, 0, 0);
    test_assert_field(&test, FALSE, 8, 7);
    test_command_clear(&test);
    g_assert_cmpuint(n_keys(pair.rig), ==, 2);
    pair_free(&pair);
}

/*
 * Commands in flight
 */

static void
start_write(TestCommand *test, Nexus *nexus, guint8 lba)
{
    static const guint8 block[512];

    test_command_init(test, nexus, 0, CDB(0x2a, 0, 0, 0, 0, lba, 0, 0, 1, 0));
    test->command.expected_out = sizeof(block);
    test->out = block;
    test->n_out = sizeof(block);
    test_start(test);
}

static void
start_out(TestCommand *test, Nexus *nexus, guint8 action, guint8 type, guint64 key,
          guint64 action_key, guint8 list[24])
{
    fill_list(list, key, action_key, 0);
    test_command_init(test, nexus, 0, CDB(0x5f, action, type, 0, 0, 0, 0, 0, 24, 0));
    test->command.expected_out = 24;
    test->out = list;
    test->n_out = 24;
    test_start(test);
}

/* GOOD for RESERVE means that no write of others is under way any more */
static void
test_reserve_waits_for_writes(void)
{
    Pair pair = pair_new(NULL);
    TestCommand write, own, reserve;
    guint8 list[24];

    assert_good(out(pair.rig, pair.a, REGISTER, 0, 0, KEY_A));
    slow_hold(pair.rig->store, TRUE);
    start_write(&write, pair.b, 0);
    start_write(&own, pair.a, 1);
    start_out(&reserve, pair.a, RESERVE, 1, KEY_A, 0, list);
    rig_turn(pair.rig);
    g_assert_false(reserve.is_done);

    slow_release(pair.rig->store, 1);
    rig_turn(pair.rig);
    test_assert_good(&write);
    test_assert_good(&reserve);
    g_assert_false(own.is_done);
    slow_release(pair.rig->store, 0);
    test_assert_good(&own);
    slow_hold(pair.rig->store, FALSE);
    assert_conflict(try_write(pair.rig, pair.b));

    test_command_clear(&write);
    test_command_clear(&own);
    test_command_clear(&reserve);
    pair_free(&pair);
}

/* A change of the unit that passed the gate, and has a reservation before it at the home worker */
static void
test_reserve_stops_errands(void)
{
    Pair pair = pair_new(NULL);
    static const guint8 standby[6] = { 0x1b, 0, 0, 0, 0x30, 0 };
    TestCommand reserve, errand;
    guint8 list[24];

    assert_good(out(pair.rig, pair.a, REGISTER, 0, 0, KEY_A));
    start_out(&reserve, pair.a, RESERVE, 1, KEY_A, 0, list);
    test_command_init(&errand, pair.b, 0, standby, sizeof(standby));
    test_start(&errand);
    g_assert_cmpint(errand.command.state, ==, SCSI_STATE_IO);
    rig_turn(pair.rig);
    test_assert_good(&reserve);
    g_assert_true(errand.is_done);
    assert_conflict(errand.command.status);
    test_command_clear(&reserve);
    test_command_clear(&errand);
    pair_free(&pair);
}

/* A command of several segments that passed the gate before the reservation */
static void
test_reserve_stops_long_commands(void)
{
    Pair pair = pair_new(&(RigConfig){ .slow.size = 4 << 20 });
    TestCommand read;

    assert_good(out(pair.rig, pair.a, REGISTER, 0, 0, KEY_A));
    test_command_init(&read, pair.b, 0, CDB(0x28, 0, 0, 0, 0, 0, 0, 0x10, 0, 0));
    read.command.expected_in = 2 << 20;
    read.hold_data_in = TRUE;
    test_start(&read);
    rig_turn(pair.rig);
    g_assert_cmpint(read.command.state, ==, SCSI_STATE_DATA_IN);
    assert_good(out(pair.rig, pair.a, RESERVE, 3, KEY_A, 0));
    scsi_command_data_in_sent(&read.command);
    test_wait(pair.rig, &read);
    assert_conflict(read.command.status);
    test_command_clear(&read);
    pair_free(&pair);
}

static void
test_preempt_and_abort(void)
{
    Pair pair = pair_new(NULL);
    TestCommand write, read, preempt;
    guint8 list[24];

    register_both(&pair);
    assert_good(out(pair.rig, pair.b, RESERVE, 1, KEY_B, 0));
    slow_hold(pair.rig->store, TRUE);
    start_write(&write, pair.b, 0);
    test_command_init(&read, pair.b, 0, CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 1, 0));
    read.command.expected_in = 512;
    test_start(&read);
    start_out(&preempt, pair.a, PREEMPT_AND_ABORT, 1, KEY_A, KEY_B, list);
    rig_turn(pair.rig);
    g_assert_false(preempt.is_done || write.is_done || read.is_done);

    slow_release(pair.rig->store, 1);
    rig_turn(pair.rig);
    test_assert_good(&preempt);
    g_assert_true(write.is_done && write.command.aborted);
    g_assert_true(read.is_done && read.command.aborted);
    assert_attention(pair.b, SENSE_REGISTRATIONS_PREEMPTED);
    assert_holder(pair.rig, 1, KEY_A);

    test_command_clear(&write);
    test_command_clear(&read);
    test_command_clear(&preempt);
    pair_free(&pair);
}

/* Who is preempted hears of its commands where TAS says so; what the unit attention tells is the same */
static void
test_preempt_and_abort_tells(void)
{
    static const guint8 mode[16] = { 0, 0, 0, 0, 0x0a, 0x0a, 0x20, 0x10, 0, 0x40 };
    Pair pair = pair_new(NULL);
    TestCommand write, preempt, select;
    guint8 list[24];

    (void)test_execute(pair.rig, pair.a, &select, CDB(0x15, 0x10, 0, 0, 16, 0), 0, mode,
                       sizeof(mode));
    test_assert_good(&select);
    test_command_clear(&select);
    pair.b->luns[0]->attentions.n = 0;
    register_both(&pair);
    slow_hold(pair.rig->store, TRUE);
    start_write(&write, pair.b, 0);
    start_out(&preempt, pair.a, PREEMPT_AND_ABORT, 1, KEY_A, KEY_B, list);
    rig_turn(pair.rig);
    slow_release(pair.rig->store, 1);
    rig_turn(pair.rig);
    test_assert_good(&preempt);
    g_assert_true(write.is_done && write.command.aborted && write.command.aborted_by_other);
    g_assert_cmphex(write.command.status, ==, SCSI_TASK_ABORTED);
    assert_attention(pair.b, SENSE_REGISTRATIONS_PREEMPTED);
    test_command_clear(&write);
    test_command_clear(&preempt);
    pair_free(&pair);
}

static void
test_plain_preempt_aborts_nothing(void)
{
    Pair pair = pair_new(NULL);
    TestCommand read;

    register_both(&pair);
    slow_hold(pair.rig->store, TRUE);
    test_command_init(&read, pair.b, 0, CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 1, 0));
    read.command.expected_in = 512;
    test_start(&read);
    assert_good(out(pair.rig, pair.a, PREEMPT, 1, KEY_A, KEY_B));
    slow_release(pair.rig->store, 1);
    rig_turn(pair.rig);
    test_assert_good(&read);
    test_command_clear(&read);
    pair_free(&pair);
}

/* Two that abort each other: the second finds itself preempted, and neither waits for ever */
static void
test_preempt_each_other(void)
{
    Pair pair = pair_new(NULL);
    TestCommand a, b, bystander;
    Nexus *third = rig_new_nexus(pair.rig, 1, 3);
    guint8 list_a[24], list_b[24], list_c[24];

    register_both(&pair);
    start_out(&a, pair.a, PREEMPT_AND_ABORT, 3, KEY_A, KEY_B, list_a);
    start_out(&b, pair.b, PREEMPT_AND_ABORT, 3, KEY_B, KEY_A, list_b);
    start_out(&bystander, third, REGISTER, 0, 0, 0x3, list_c);
    rig_turn(pair.rig);
    g_assert_true(a.is_done && b.is_done);
    test_assert_good(&bystander);
    test_assert_good(&a);
    g_assert_true(b.command.aborted);
    g_assert_cmpuint(n_keys(pair.rig), ==, 2);

    test_command_clear(&a);
    test_command_clear(&b);
    test_command_clear(&bystander);
    nexus_free(third);
    pair_free(&pair);
}

typedef struct {
    ScsiTmf tmf;
    gboolean is_done;
} TestTmf;

static void
on_tmf_done(ScsiTmf *tmf)
{
    list_entry(tmf, TestTmf, tmf)->is_done = TRUE;
}

static void
start_reset(TestTmf *test, Nexus *nexus)
{
    memset(test, 0, sizeof(*test));
    test->tmf.function = TMF_LOGICAL_UNIT_RESET;
    test->tmf.nexus = nexus;
    test->tmf.done = on_tmf_done;
    scsi_tmf_start(&test->tmf);
}

/* What stands behind a reset at the home worker is aborted by it, without effect */
static void
test_reset_overtakes(void)
{
    Pair pair = pair_new(NULL);
    TestCommand read, request;
    TestTmf tmf;
    guint8 list[24];

    slow_hold(pair.rig->store, TRUE);
    test_command_init(&read, pair.a, 0, CDB(0x28, 0, 0, 0, 0, 9, 0, 0, 1, 0));
    read.command.expected_in = 512;
    test_start(&read);
    start_reset(&tmf, pair.a);
    start_out(&request, pair.b, REGISTER, 0, 0, KEY_B, list);
    rig_turn(pair.rig);
    g_assert_true(request.is_done && request.command.aborted);
    g_assert_false(tmf.is_done);
    slow_release(pair.rig->store, 0);
    rig_turn(pair.rig);
    g_assert_true(tmf.is_done);
    pair.a->luns[0]->attentions.n = 0;
    slow_hold(pair.rig->store, FALSE);
    g_assert_cmpuint(n_keys(pair.rig), ==, 0);
    test_command_clear(&read);
    test_command_clear(&request);
    pair_free(&pair);
}

static void
test_reset_keeps_registrations(void)
{
    Pair pair = pair_new(NULL);
    TestTmf tmf;

    register_both(&pair);
    assert_good(out(pair.rig, pair.b, RESERVE, 1, KEY_B, 0));
    start_reset(&tmf, pair.a);
    rig_turn(pair.rig);
    g_assert_true(tmf.is_done);
    pair.a->luns[0]->attentions.n = 0;
    assert_holder(pair.rig, 1, KEY_B);
    pair_free(&pair);
}

/*
 * Lists with TransportIDs
 */

static GByteArray *
list_new(guint64 key, guint64 action_key, guint8 flags)
{
    GByteArray *list = g_byte_array_new();
    guint8 head[28] = { 0 };

    fill_list(head, key, action_key, flags);
    g_byte_array_append(list, head, sizeof(head));
    return list;
}

static void
list_add(GByteArray *list, const char *port_name)
{
    guint8 id[TRANSPORT_ID_MAX];
    guint32 length = transport_id_put(port_name, id);

    g_byte_array_append(list, id, length);
    put_be32(list->data + 24, list->len - 28);
}

static void
test_register_others(void)
{
    Pair pair = pair_new(NULL);
    g_autoptr(GByteArray) list = list_new(0, KEY_A, 0x08);
    g_autoptr(GByteArray) status = NULL;
    char name[PORT_NAME_MAX + 1];
    TestCommand test;
    guint byte;

    list_add(list, port_names[2]);
    list_add(list, port_names[3]);
    assert_good(out_test(pair.rig, pair.a, &test, REGISTER, 0, list->data, list->len));
    test_command_clear(&test);
    g_assert_cmpuint(n_keys(pair.rig), ==, 3);
    g_assert_cmpuint(generation(pair.rig), ==, 1);
    assert_good(out(pair.rig, pair.b, RESERVE, 5, KEY_A, 0));

    status = in(pair.rig, pair.a, 3);
    g_assert_cmpuint(get_be32(status->data + 4), ==, status->len - 8);
    g_assert_cmphex(get_be64(status->data + 8), ==, KEY_A);
    g_assert_cmphex(status->data[8 + 12], ==, 0);
    g_assert_cmpuint(get_be16(status->data + 8 + 18), ==, 1);
    g_assert_cmpuint(get_be32(status->data + 8 + 20), ==, 52);
    g_assert_cmpuint(transport_id_parse(status->data + 32, 52, name, &byte), ==, 52);
    g_assert_cmpstr(name, ==, port_names[1]);
    g_assert_cmphex(status->data[84 + 12], ==, 1);
    g_assert_cmphex(status->data[84 + 13], ==, 5);
    pair_free(&pair);
}

static void
test_register_others_again(void)
{
    Pair pair = pair_new(NULL);
    g_autoptr(GByteArray) list = list_new(0, KEY_A, 0x08);
    TestCommand test;

    assert_good(out(pair.rig, pair.b, REGISTER, 0, 0, KEY_B));
    list_add(list, port_names[3]);
    list_add(list, port_names[2]);
    (void)out_test(pair.rig, pair.a, &test, REGISTER, 0, list->data, list->len);
    test_assert_field(&test, FALSE, 28 + 52, 7);
    test_command_clear(&test);
    g_assert_cmpuint(n_keys(pair.rig), ==, 1);

    (void)out_test(pair.rig, pair.a, &test, REGISTER_AND_IGNORE, 0, list->data, list->len);
    test_assert_field(&test, FALSE, 20, 3);
    test_command_clear(&test);
    pair_free(&pair);
}

static void
test_damaged_transport_ids(void)
{
    Pair pair = pair_new(NULL);
    g_autoptr(GByteArray) list = list_new(0, KEY_A, 0x08);
    TestCommand test;

    list_add(list, port_names[2]);
    list->data[28] = 0x05; /* an initiator, but its name is a port's */
    (void)out_test(pair.rig, pair.a, &test, REGISTER, 0, list->data, list->len);
    test_assert_field(&test, FALSE, 32, 7);
    test_command_clear(&test);

    list->data[28] = 0x46; /* of another protocol */
    (void)out_test(pair.rig, pair.a, &test, REGISTER, 0, list->data, list->len);
    test_assert_field(&test, FALSE, 28, 7);
    test_command_clear(&test);

    list->data[28] = 0x45;
    list->data[31] = 0xf0;
    (void)out_test(pair.rig, pair.a, &test, REGISTER, 0, list->data, list->len);
    test_assert_field(&test, FALSE, 30, 7);
    test_command_clear(&test);

    list->data[31] = 48;
    list->data[32] = 'X';
    (void)out_test(pair.rig, pair.a, &test, REGISTER, 0, list->data, list->len);
    test_assert_field(&test, FALSE, 32, 7);
    test_command_clear(&test);

    put_be32(list->data + 24, 53);
    (void)out_test(pair.rig, pair.a, &test, REGISTER, 0, list->data, list->len);
    test_assert_sense(&test, SENSE_PARAMETER_LIST_LENGTH);
    test_command_clear(&test);
    g_assert_cmpuint(n_keys(pair.rig), ==, 0);
    pair_free(&pair);
}

static GByteArray *
move_list(guint64 key, guint64 action_key, guint8 flags, guint16 port, const char *to)
{
    GByteArray *list = g_byte_array_new();
    guint8 head[24], id[TRANSPORT_ID_MAX];
    guint32 length = transport_id_put(to, id);

    fill_list(head, key, action_key, 0);
    head[17] = flags;
    put_be16(head + 18, port);
    put_be32(head + 20, length);
    g_byte_array_append(list, head, sizeof(head));
    g_byte_array_append(list, id, length);
    return list;
}

static ScsiStatus
move(Rig *rig, Nexus *nexus, TestCommand *test, guint64 key, guint64 action_key, guint8 flags,
     guint16 port, const char *to)
{
    g_autoptr(GByteArray) list = move_list(key, action_key, flags, port, to);

    return out_test(rig, nexus, test, REGISTER_AND_MOVE, 0, list->data, list->len);
}

static void
test_move(void)
{
    Pair pair = pair_new(NULL);
    TestCommand test;

    assert_good(out(pair.rig, pair.a, REGISTER, 0, 0, KEY_A));
    assert_good(out(pair.rig, pair.a, RESERVE, 3, KEY_A, 0));
    assert_good(move(pair.rig, pair.a, &test, KEY_A, KEY_B, 0, 1, port_names[2]));
    test_command_clear(&test);
    assert_holder(pair.rig, 3, KEY_B);
    g_assert_cmpuint(n_keys(pair.rig), ==, 2);
    assert_good(try_write(pair.rig, pair.b));
    assert_conflict(try_write(pair.rig, pair.a));

    /* Back, and the registration goes too */
    assert_good(move(pair.rig, pair.b, &test, KEY_B, KEY_A, 0x02, 1, port_names[1]));
    test_command_clear(&test);
    assert_holder(pair.rig, 3, KEY_A);
    g_assert_cmpuint(n_keys(pair.rig), ==, 1);
    g_assert_cmpuint(generation(pair.rig), ==, 3);
    pair_free(&pair);
}

static void
test_move_refused(void)
{
    Pair pair = pair_new(NULL);
    TestCommand test;

    register_both(&pair);
    (void)move(pair.rig, pair.a, &test, KEY_A, KEY_B, 0, 1, port_names[2]);
    test_assert_field(&test, TRUE, 1, 4);
    test_command_clear(&test);
    assert_good(out(pair.rig, pair.a, RESERVE, 3, KEY_A, 0));
    assert_conflict(move(pair.rig, pair.b, &test, KEY_B, KEY_B, 0, 1, port_names[3]));
    test_command_clear(&test);
    assert_conflict(move(pair.rig, pair.a, &test, KEY_B, KEY_B, 0, 1, port_names[2]));
    test_command_clear(&test);
    (void)move(pair.rig, pair.a, &test, KEY_A, 0, 0, 1, port_names[2]);
    test_assert_field(&test, FALSE, 8, 7);
    test_command_clear(&test);
    (void)move(pair.rig, pair.a, &test, KEY_A, KEY_B, 0, 44, port_names[2]);
    test_assert_field(&test, FALSE, 18, 7);
    test_command_clear(&test);
    (void)move(pair.rig, pair.a, &test, KEY_A, KEY_B, 0, 1, port_names[1]);
    test_assert_field(&test, FALSE, 24, 7);
    test_command_clear(&test);
    assert_good(out(pair.rig, pair.a, PREEMPT, 8, KEY_A, KEY_A));
    assert_conflict(move(pair.rig, pair.a, &test, KEY_A, KEY_B, 0, 1, port_names[2]));
    test_command_clear(&test);
    pair_free(&pair);
}

/*
 * Form
 */

static void
test_form(void)
{
    Pair pair = pair_new(NULL);
    guint8 list[25] = { 0 };
    TestCommand test;

    put_be64(list + 8, KEY_A);
    (void)out_test(pair.rig, pair.a, &test, REGISTER, 0, list, 23);
    test_assert_sense(&test, SENSE_PARAMETER_LIST_LENGTH);
    test_command_clear(&test);
    (void)out_test(pair.rig, pair.a, &test, REGISTER, 0, list, 25);
    test_assert_sense(&test, SENSE_PARAMETER_LIST_LENGTH);
    test_command_clear(&test);
    (void)out_test(pair.rig, pair.a, &test, RESERVE, 0x02, list, 24);
    test_assert_field(&test, TRUE, 2, 3);
    test_command_clear(&test);
    (void)out_test(pair.rig, pair.a, &test, RESERVE, 0x11, list, 24);
    test_assert_field(&test, TRUE, 2, 7);
    test_command_clear(&test);
    (void)out_test(pair.rig, pair.a, &test, 8, 0, list, 24);
    test_assert_field(&test, TRUE, 1, 4);
    test_command_clear(&test);
    (void)test_execute(pair.rig, pair.a, &test, CDB(0x5e, 4, 0, 0, 0, 0, 0, 0, 8, 0), 8, NULL, 0);
    test_assert_field(&test, TRUE, 1, 4);
    test_command_clear(&test);
    pair_free(&pair);
}

static void
test_truncated_answer(void)
{
    Pair pair = pair_new(NULL);
    TestCommand test;

    register_both(&pair);
    assert_good(
        test_execute(pair.rig, pair.a, &test, CDB(0x5e, 0, 0, 0, 0, 0, 0, 0, 12, 0), 12, NULL, 0));
    g_assert_cmpuint(test.in->len, ==, 12);
    g_assert_cmpuint(get_be32(test.in->data + 4), ==, 16);
    test_command_clear(&test);
    pair_free(&pair);
}

static void
test_capabilities(void)
{
    static const guint8 wanted[8] = { 0, 8, 0x1c, 0xc0, 0xea, 0x01, 0, 0 };
    Pair pair = pair_new(NULL);
    g_autoptr(GByteArray) data = in(pair.rig, pair.a, 2);

    g_assert_cmpmem(data->data, data->len, wanted, sizeof(wanted));
    pair_free(&pair);
}

/*
 * Stored
 */

typedef struct {
    Mailbox mailbox;
    LuPersist *asked;
    char *text; /* what was stored last */
    gboolean keep;
} Keeper;

static void
on_persist(LuPersist *persist, gpointer user_data)
{
    Keeper *keeper = user_data;

    g_assert_null(keeper->asked);
    keeper->asked = persist;
    g_free(keeper->text);
    keeper->text = g_strdup(persist->text);
    keeper->keep = persist->keep;
}

static void
keeper_init(Keeper *keeper, RigConfig *config)
{
    g_autoptr(GError) error = NULL;

    memset(keeper, 0, sizeof(*keeper));
    (void)mailbox_init(&keeper->mailbox, &error);
    g_assert_no_error(error);
    *config = (RigConfig){ .lu.persist = on_persist,
                           .lu.can_keep = TRUE,
                           .lu.persist_data = keeper,
                           .lu.persist_to = &keeper->mailbox };
}

static void
keeper_deinit(Keeper *keeper)
{
    mailbox_deinit(&keeper->mailbox);
    g_free(keeper->text);
}

/* Take what is asked to be stored, and answer */
static void
keeper_answer(Keeper *keeper, Rig *rig, gboolean success)
{
    rig_turn(rig);
    (void)mailbox_drain(&keeper->mailbox);
    g_assert_nonnull(keeper->asked);
    lu_persisted(g_steal_pointer(&keeper->asked), success);
    rig_turn(rig);
}

static void
test_aptpl_needs_a_keeper(void)
{
    Pair pair = pair_new(NULL);
    TestCommand test;

    out_fails(pair.rig, pair.a, &test, REGISTER, 0, 0, KEY_A, 0x01);
    test_assert_field(&test, FALSE, 20, 0);
    test_command_clear(&test);
    pair_free(&pair);
}

static void
start_aptpl(TestCommand *test, Nexus *nexus, guint8 action, guint8 type, guint64 key,
            guint64 action_key, guint8 list[24])
{
    fill_list(list, key, action_key, action == REGISTER ? 0x01 : 0);
    test_command_init(test, nexus, 0, CDB(0x5f, action, type, 0, 0, 0, 0, 0, 24, 0));
    test->command.expected_out = 24;
    test->out = list;
    test->n_out = 24;
    test_start(test);
}

/* GOOD is not sent before it is on stable storage; another unit that starts with that has it all */
static void
test_aptpl(void)
{
    RigConfig config;
    Keeper keeper;
    Pair pair;
    TestCommand test;
    guint8 list[24];
    g_autoptr(GByteArray) data = NULL;

    keeper_init(&keeper, &config);
    pair = pair_new(&config);
    start_aptpl(&test, pair.a, REGISTER, 0, 0, KEY_A, list);
    rig_turn(pair.rig);
    g_assert_false(test.is_done);
    g_assert_cmpuint(n_keys(pair.rig), ==, 0);
    keeper_answer(&keeper, pair.rig, TRUE);
    test_assert_good(&test);
    test_command_clear(&test);
    data = in(pair.rig, pair.a, 2);
    g_assert_cmphex(data->data[2], ==, 0x1d);
    g_assert_cmphex(data->data[3], ==, 0xc1);

    start_aptpl(&test, pair.a, RESERVE, 3, KEY_A, 0, list);
    keeper_answer(&keeper, pair.rig, TRUE);
    test_assert_good(&test);
    test_command_clear(&test);
    pair_free(&pair);

    config.lu.reservations = keeper.text;
    config.lu.reservations_size = strlen(keeper.text);
    config.lu.is_power_on = TRUE;
    pair = pair_new(&config);
    g_assert_cmpuint(generation(pair.rig), ==, 0);
    assert_holder(pair.rig, 3, KEY_A);
    assert_conflict(try_read(pair.rig, pair.b));
    assert_good(try_read(pair.rig, pair.a));

    /* The last registration goes, and so does what is stored */
    start_aptpl(&test, pair.a, CLEAR, 0, KEY_A, 0, list);
    keeper_answer(&keeper, pair.rig, TRUE);
    test_assert_good(&test);
    test_command_clear(&test);
    g_assert_null(keeper.text);
    pair_free(&pair);
    keeper_deinit(&keeper);
}

static void
test_aptpl_fails(void)
{
    RigConfig config;
    Keeper keeper;
    Pair pair;
    TestCommand test;
    guint8 list[24];

    keeper_init(&keeper, &config);
    pair = pair_new(&config);
    start_aptpl(&test, pair.a, REGISTER, 0, 0, KEY_A, list);
    keeper_answer(&keeper, pair.rig, FALSE);
    test_assert_sense(&test, SENSE_INTERNAL_TARGET_FAILURE);
    test_command_clear(&test);
    g_assert_cmpuint(n_keys(pair.rig), ==, 0);
    start_aptpl(&test, pair.a, REGISTER, 0, 0, KEY_A, list);
    keeper_answer(&keeper, pair.rig, TRUE);
    test_assert_good(&test);
    test_command_clear(&test);
    g_assert_cmpuint(n_keys(pair.rig), ==, 1);
    pair_free(&pair);
    keeper_deinit(&keeper);
}

/* Registering again without APTPL: nothing is kept any more */
static void
test_aptpl_ends(void)
{
    RigConfig config;
    Keeper keeper;
    Pair pair;
    TestCommand test;
    guint8 list[24];

    keeper_init(&keeper, &config);
    pair = pair_new(&config);
    start_aptpl(&test, pair.a, REGISTER, 0, 0, KEY_A, list);
    keeper_answer(&keeper, pair.rig, TRUE);
    test_command_clear(&test);
    g_assert_true(keeper.keep);
    start_aptpl(&test, pair.b, REGISTER_AND_IGNORE, 0, 0, KEY_B, list);
    keeper_answer(&keeper, pair.rig, TRUE);
    test_assert_good(&test);
    test_command_clear(&test);
    g_assert_false(keeper.keep);
    pair_free(&pair);

    /* The unit that takes its place has all, as if nothing had happened */
    config.lu.reservations = keeper.text;
    config.lu.reservations_size = strlen(keeper.text);
    pair = pair_new(&config);
    g_assert_cmpuint(generation(pair.rig), ==, 2);
    g_assert_cmpuint(n_keys(pair.rig), ==, 2);
    pair_free(&pair);
    keeper_deinit(&keeper);
}

static void
assert_not_parsed(const char *text, gsize size)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(lu_check_reservations(text, size, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
}

static void
test_stored_form(void)
{
    Reservations *empty = reservations_new();
    Reservations *state = reservations_copy(empty, 2);
    Reservations *again;
    NexusName name = { .name = "iqn.2026-11.org.example:host1,i,0x000000000001",
                       .port = 7,
                       .target = 0x01020304 };
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    gsize size;

    g_assert_true(reservations_add(state, &name, 1));
    name.port = 8;
    g_assert_true(reservations_add(state, &name, G_MAXUINT64));
    g_assert_null(reservations_format(empty));
    state->aptpl = TRUE;
    state->type = 6;
    state->holder = 1;
    text = reservations_format(state);
    size = strlen(text);
    again = reservations_parse(text, size, &error);
    g_assert_no_error(error);
    g_assert_cmpuint(again->n, ==, 2);
    g_assert_cmpuint(again->type, ==, 6);
    g_assert_cmpuint(again->holder, ==, 1);
    g_assert_true(again->aptpl);
    g_assert_cmphex(again->entries[1].key, ==, G_MAXUINT64);
    g_assert_true(nexus_name_equal(&again->entries[1].nexus, &name));
    g_assert_cmphex(again->entries[1].nexus.target, ==, 0x01020304);

    /* Any other byte, and any other length */
    for (gsize i = 0; i < size; i++) {
        assert_not_parsed(text, i);
        text[i] ^= 0x01;
        assert_not_parsed(text, size);
        text[i] ^= 0x01;
    }
    reservations_unref(again);
    reservations_unref(state);
    reservations_unref(empty);
}

/* Version 1 did not say of which target a port was */
static void
test_stored_form_1(void)
{
    GString *record = record_new("reservations", 1);
    NexusName name = { .name = "iqn.2026-11.org.example:host1,i,0x000000000001",
                       .port = 7,
                       .target = 0x01020304 };
    g_autofree char *text = NULL;
    g_autoptr(GError) error = NULL;
    Reservations *state;

    g_string_append(record, "generation 1\naptpl 1\ntype 0\nholder 0\n"
                            "registration 0000000000000001 7 "
                            "iqn.2026-11.org.example:host1,i,0x000000000001\n");
    text = record_finish(record);
    state = reservations_parse(text, strlen(text), &error);
    g_assert_no_error(error);
    g_assert_true(nexus_name_equal(&state->entries[0].nexus, &name));
    reservations_unref(state);
}

static Nexus *
new_nexus_of(Rig *rig, const char *target_name)
{
    const NexusConfig config = {
        .initiator_port_name = rig->nexus->initiator_port_name,
        .target_name = target_name,
        .relative_target_port = rig->nexus->relative_target_port,
        .target_port_group = 1,
    };
    Nexus *nexus = nexus_new(rig->workers[0], &config, rig->map);

    nexus->luns[0]->attentions.n = 0;
    return nexus;
}

/* The same initiator port through ports of two targets that have the same identifier */
static void
test_ports_of_two_targets(void)
{
    Rig *rig = rig_new(&(RigConfig){ 0 });
    Nexus *other = new_nexus_of(rig, "iqn.2026-11.org.lunport:other");
    const LuPort ports[] = { own_port(rig->nexus->relative_target_port),
                             { .relative_port = rig->nexus->relative_target_port,
                               .target = lu_target_id("iqn.2026-11.org.lunport:other") } };

    assert_good(out(rig, rig->nexus, REGISTER, 0, 0, KEY_A));
    assert_good(out(rig, rig->nexus, RESERVE, 3, KEY_A, 0));
    assert_conflict(try_read(rig, other));
    assert_conflict(out(rig, other, RELEASE, 3, KEY_A, 0));
    assert_good(out(rig, rig->nexus, RELEASE, 3, KEY_A, 0));
    assert_good(out(rig, rig->nexus, REGISTER, 0, KEY_A, 0));

    /* RESERVE is no different, and all target ports are both */
    assert_good(reserve_6(rig, rig->nexus));
    assert_conflict(try_read(rig, other));
    assert_good(release_6(rig, rig->nexus));
    lu_set_target_ports(rig->lu, ports, G_N_ELEMENTS(ports));
    assert_good(out_flags(rig, other, REGISTER, 0, 0, KEY_A, 0x04));
    g_assert_cmpuint(n_keys(rig), ==, 2);
    assert_good(out(rig, rig->nexus, REGISTER, 0, KEY_A, 0));
    g_assert_cmpuint(n_keys(rig), ==, 1);
    nexus_free(other);
    rig_free(rig);
}

/*
 * RESERVE and RELEASE
 */

static void
test_reserve_6(void)
{
    Pair pair = pair_new(NULL);

    assert_good(reserve_6(pair.rig, pair.a));
    assert_good(reserve_6(pair.rig, pair.a));
    assert_conflict(reserve_6(pair.rig, pair.b));
    assert_conflict(try_ready(pair.rig, pair.b));
    assert_conflict(try_read(pair.rig, pair.b));
    assert_conflict(try_mode_sense(pair.rig, pair.b));
    assert_good(simple(pair.rig, pair.b, CDB(0x12, 0, 0, 0, 36, 0), 36));
    assert_good(simple(pair.rig, pair.b, CDB(0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0), 8));
    assert_good(try_write(pair.rig, pair.a));

    assert_good(release_6(pair.rig, pair.b));
    assert_conflict(try_read(pair.rig, pair.b));
    assert_good(release_6(pair.rig, pair.a));
    assert_good(try_write(pair.rig, pair.b));
    assert_attention(pair.b, SENSE_NONE);
    pair_free(&pair);
}

static void
test_reserve_10(void)
{
    Pair pair = pair_new(NULL);

    assert_good(simple(pair.rig, pair.b, CDB(0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0));
    assert_conflict(try_read(pair.rig, pair.a));
    assert_good(simple(pair.rig, pair.b, CDB(0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0), 0));
    assert_good(try_read(pair.rig, pair.a));
    g_assert_cmphex(simple(pair.rig, pair.b, CDB(0x56, 0x10, 0, 3, 0, 0, 0, 0, 0, 0), 0), ==,
                    SCSI_CHECK_CONDITION);
    pair_free(&pair);
}

/* Both kinds exclude each other, and even the one who has the unit */
static void
test_reserve_6_excludes_persistent(void)
{
    Pair pair = pair_new(NULL);

    assert_good(reserve_6(pair.rig, pair.a));
    assert_conflict(out(pair.rig, pair.a, REGISTER, 0, 0, KEY_A));
    assert_conflict(out(pair.rig, pair.b, REGISTER_AND_IGNORE, 0, 0, KEY_B));
    assert_conflict(simple(pair.rig, pair.a, CDB(0x5e, 0, 0, 0, 0, 0, 0, 0, 8, 0), 8));
    assert_good(release_6(pair.rig, pair.a));
    assert_good(out(pair.rig, pair.a, REGISTER, 0, 0, KEY_A));
    assert_conflict(reserve_6(pair.rig, pair.a));
    assert_conflict(release_6(pair.rig, pair.b));
    pair_free(&pair);
}

static void
test_compatible_handling(void)
{
    Pair pair = pair_new(NULL);

    register_both(&pair);
    assert_good(out(pair.rig, pair.a, RESERVE, 1, KEY_A, 0));
    assert_good(reserve_6(pair.rig, pair.a));
    assert_good(release_6(pair.rig, pair.a));
    assert_conflict(reserve_6(pair.rig, pair.b));
    assert_conflict(release_6(pair.rig, pair.b));
    assert_holder(pair.rig, 1, KEY_A);

    assert_good(out(pair.rig, pair.a, PREEMPT, 5, KEY_A, KEY_A));
    pair.b->luns[0]->attentions.n = 0;
    assert_good(reserve_6(pair.rig, pair.b));
    assert_good(release_6(pair.rig, pair.b));
    assert_holder(pair.rig, 5, KEY_A);
    pair_free(&pair);
}

static void
on_left(gpointer user_data)
{
    *(gboolean *)user_data = TRUE;
}

static void
test_reserve_6_ends_with_the_nexus(void)
{
    Pair pair = pair_new(NULL);
    gboolean left = FALSE;

    g_assert_true(nexus_leave(pair.b, on_left, &left));
    assert_good(reserve_6(pair.rig, pair.b));
    g_assert_false(nexus_leave(pair.b, on_left, &left));
    rig_turn(pair.rig);
    g_assert_true(left);
    assert_good(try_read(pair.rig, pair.a));

    /* One that is just taken away: some time later */
    assert_good(reserve_6(pair.rig, pair.b));
    nexus_free(pair.b);
    rig_turn(pair.rig);
    assert_good(try_read(pair.rig, pair.a));
    pair.b = rig_new_nexus(pair.rig, 1, 2);
    pair_free(&pair);
}

static void
test_reserve_6_ends_with_a_reset(void)
{
    Pair pair = pair_new(NULL);
    TestTmf tmf;

    assert_good(reserve_6(pair.rig, pair.b));
    start_reset(&tmf, pair.a);
    rig_turn(pair.rig);
    g_assert_true(tmf.is_done);
    pair.a->luns[0]->attentions.n = 0;
    assert_good(try_read(pair.rig, pair.a));
    assert_good(reserve_6(pair.rig, pair.a));
    pair_free(&pair);
}

/* A nexus that comes later finds what is reserved */
static void
test_new_nexus(void)
{
    Pair pair = pair_new(NULL);
    Nexus *third;

    assert_good(reserve_6(pair.rig, pair.b));
    third = rig_new_nexus(pair.rig, 0, 3);
    assert_conflict(try_read(pair.rig, third));
    nexus_free(third);
    pair_free(&pair);
}

/*
 * The administrator
 */

typedef struct {
    LuReservation seen;
    char *holder;
    gboolean cleared;
} Admin;

static void
on_seen(Lu *lu, const LuReservation *reservation, gpointer user_data)
{
    Admin *admin = user_data;

    admin->seen = *reservation;
    for (guint i = 0; i < reservation->n_registrations; i++) {
        if (reservation->registrations[i].is_holder)
            admin->holder = g_strdup(reservation->registrations[i].initiator_port);
    }
}

static void
on_cleared(Lu *lu, gboolean success, gpointer user_data)
{
    ((Admin *)user_data)->cleared = success;
}

static void
test_administrator(void)
{
    Pair pair = pair_new(NULL);
    Admin admin = { 0 };
    g_autoptr(GError) error = NULL;
    Mailbox mailbox;

    (void)mailbox_init(&mailbox, &error);
    g_assert_no_error(error);
    register_both(&pair);
    assert_good(out(pair.rig, pair.b, RESERVE, 3, KEY_B, 0));
    lu_get_reservation(pair.rig->lu, &mailbox, on_seen, &admin);
    rig_turn(pair.rig);
    (void)mailbox_drain(&mailbox);
    g_assert_cmpuint(admin.seen.type, ==, 3);
    g_assert_cmpuint(admin.seen.n_registrations, ==, 2);
    g_assert_cmpuint(admin.seen.generation, ==, 2);
    g_assert_cmpstr(admin.holder, ==, port_names[2]);

    lu_clear_reservations(pair.rig->lu, &mailbox, on_cleared, &admin);
    rig_turn(pair.rig);
    (void)mailbox_drain(&mailbox);
    g_assert_true(admin.cleared);
    assert_attention(pair.a, SENSE_RESERVATIONS_PREEMPTED);
    assert_attention(pair.b, SENSE_RESERVATIONS_PREEMPTED);
    assert_good(try_write(pair.rig, pair.a));
    g_assert_cmpuint(n_keys(pair.rig), ==, 0);

    /* RESERVE goes too */
    assert_good(reserve_6(pair.rig, pair.b));
    lu_clear_reservations(pair.rig->lu, &mailbox, on_cleared, &admin);
    rig_turn(pair.rig);
    (void)mailbox_drain(&mailbox);
    assert_good(try_write(pair.rig, pair.a));
    mailbox_deinit(&mailbox);
    g_free(admin.holder);
    pair_free(&pair);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
#define ADD(name, fn) g_test_add_func("/scsi/reservation/" name, fn)
    ADD("register", test_register);
    ADD("register-again", test_register_again);
    ADD("unregister-of-the-unknown", test_unregister_of_the_unknown);
    ADD("registration-outlives-the-nexus", test_registration_outlives_the_nexus);
    ADD("too-many", test_too_many);
    ADD("all-target-ports", test_all_target_ports);
    ADD("access", test_access);
    ADD("start-is-allowed", test_start_is_allowed);
    ADD("reserve-again", test_reserve_again);
    ADD("all-registrants-hold", test_all_registrants_hold);
    ADD("release-in-vain", test_release_in_vain);
    ADD("holder-unregisters", test_holder_unregisters);
    ADD("clear", test_clear);
    ADD("preempt-registration", test_preempt_registration);
    ADD("preempt-reservation", test_preempt_reservation);
    ADD("preempt-oneself", test_preempt_oneself);
    ADD("preempt-all-registrants", test_preempt_all_registrants);
    ADD("preempt-nobody", test_preempt_nobody);
    ADD("reserve-waits-for-writes", test_reserve_waits_for_writes);
    ADD("reserve-stops-errands", test_reserve_stops_errands);
    ADD("reserve-stops-long-commands", test_reserve_stops_long_commands);
    ADD("preempt-and-abort", test_preempt_and_abort);
    ADD("preempt-and-abort-tells", test_preempt_and_abort_tells);
    ADD("plain-preempt-aborts-nothing", test_plain_preempt_aborts_nothing);
    ADD("preempt-each-other", test_preempt_each_other);
    ADD("reset-overtakes", test_reset_overtakes);
    ADD("reset-keeps-registrations", test_reset_keeps_registrations);
    ADD("register-others", test_register_others);
    ADD("register-others-again", test_register_others_again);
    ADD("damaged-transport-ids", test_damaged_transport_ids);
    ADD("move", test_move);
    ADD("move-refused", test_move_refused);
    ADD("form", test_form);
    ADD("truncated-answer", test_truncated_answer);
    ADD("capabilities", test_capabilities);
    ADD("aptpl-needs-a-keeper", test_aptpl_needs_a_keeper);
    ADD("aptpl", test_aptpl);
    ADD("aptpl-fails", test_aptpl_fails);
    ADD("aptpl-ends", test_aptpl_ends);
    ADD("stored-form", test_stored_form);
    ADD("stored-form-1", test_stored_form_1);
    ADD("ports-of-two-targets", test_ports_of_two_targets);
    ADD("reserve-6", test_reserve_6);
    ADD("reserve-10", test_reserve_10);
    ADD("reserve-6-excludes-persistent", test_reserve_6_excludes_persistent);
    ADD("compatible-handling", test_compatible_handling);
    ADD("reserve-6-ends-with-the-nexus", test_reserve_6_ends_with_the_nexus);
    ADD("reserve-6-ends-with-a-reset", test_reserve_6_ends_with_a_reset);
    ADD("new-nexus", test_new_nexus);
    ADD("administrator", test_administrator);
    return g_test_run();
}
