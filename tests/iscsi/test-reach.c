/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Copies from a unit of one's own target to one of another target
 *
 * Whether the initiator may use the other target is decided as for a login
 * there. Each case says how the other target is set up and what EXTENDED COPY
 * comes to; what cannot be used is told like what does not exist.
 */

#include "chap-peer.h"

#include <string.h>

#include "backstore/backstore.h"
#include "scsi/lu-shard.h"
#include "util/bytes.h"

#define THERE        "iqn.2026-11.org.lunport:there"
#define USER         "anne"
#define SECRET       "correct horse battery"
#define OTHER_SECRET "another one's secret"

#define TWO_CONNECTIONS "InitialR2T=No\nMaxConnections=2\nErrorRecoveryLevel=0"

#define LIST_SIZE      (16 + 2 * 32 + 28)
#define BLOCKS         64
#define DESTINATION_AT 100
#define FILLED         0xa5

/* What the copy comes to: sense key, additional sense code and qualifier; all of COPY ABORTED */
#define GONE     0x0a0804u /* unreachable copy target */
#define FAILED   0x0a0d01u /* third party device failure */
#define VANISHED 0x0a0d02u /* copy target device not reachable */

/* Tell which case it is and go on with the others */
#define FAIL(...) (g_test_message(__VA_ARGS__), g_test_fail())

/* The rig's target, and another one with a unit of its own */
typedef struct {
    Rig *rig;
    Backstore *store;
    Lu *lu;
    LunMap *map;
} Pair;

typedef void (*AdjustFn)(const Pair *pair, IscsiTarget *target);

static void
set_there(Pair *pair, AdjustFn adjust)
{
    IscsiTarget *target = iscsi_target_new();
    gboolean is_done = FALSE;

    target->name = g_strdup(THERE);
    target->id = 2;
    target->relative_port = 2;
    target->enabled = TRUE;
    target->access = ISCSI_ACCESS_OPEN;
    target->tags = g_new(guint16, 1);
    target->tags[0] = RIG_TAG;
    target->n_tags = 1;
    target->map = pair->map;
    snapshot_ref(&pair->map->snapshot);
    if (adjust != NULL)
        adjust(pair, target);
    iscsi_service_set_target(pair->rig->service, target, rig_set_flag, &is_done);
    rig_wait(pair->rig, &is_done);
}

static void
remove_there(Pair *pair)
{
    gboolean is_done = FALSE;

    iscsi_service_remove_target(pair->rig->service, THERE, rig_set_flag, &is_done);
    rig_wait(pair->rig, &is_done);
}

static void
pair_init(Pair *pair, const RigConfig *config, AdjustFn adjust)
{
    const BackstoreConfig store = {
        .type = "ram", .name = "there", .size = 1 << 20, .block_size = 512, .fd = -1
    };
    const LuConfig lu = { .name = "there", .uuid = { 9 } };
    g_autoptr(GError) error = NULL;

    pair->rig = rig_new(config);
    pair->store = backstore_open(&store, pair->rig->offload, pair->rig->n_workers, &error);
    g_assert_no_error(error);
    pair->lu = lu_new(&lu, pair->store, pair->rig->workers, pair->rig->n_workers, 0);
    pair->map = lun_map_new(&(LunEntry){ .lun = 0, .lu = pair->lu }, 1);
    set_there(pair, adjust);
}

static void
on_released(Lu *lu, gpointer user_data)
{
    rig_set_flag(user_data);
}

static void
release_there(Pair *pair)
{
    gboolean is_released = FALSE;

    lu_release(pair->lu, &pair->rig->control, on_released, &is_released);
    rig_wait(pair->rig, &is_released);
}

/* The other target may have been removed before */
static void
pair_clear(Pair *pair)
{
    remove_there(pair);
    snapshot_unref(&pair->map->snapshot);
    release_there(pair);
    lu_free(pair->lu);
    backstore_close(pair->store);
    rig_free(pair->rig);
}

/*
 * The copy
 */

static void
put_cscd(guint8 *p, const Lu *lu)
{
    const guint8 *designator = lu->identity.designators;

    p[0] = 0xe4;
    p[4] = designator[0];
    p[5] = designator[1];
    p[7] = designator[3];
    memcpy(p + 8, designator + 4, designator[3]);
}

static void
make_list(const Pair *pair, guint8 list[LIST_SIZE])
{
    guint8 *segment = list + 16 + 2 * 32;

    memset(list, 0, LIST_SIZE);
    list[0] = 1;
    put_be16(list + 2, 2 * 32);
    put_be32(list + 8, 28);
    put_cscd(list + 16, pair->rig->lu);
    put_cscd(list + 16 + 32, pair->lu);
    segment[0] = 0x02;
    put_be16(segment + 2, 24);
    put_be16(segment + 6, 1);
    put_be16(segment + 10, BLOCKS);
    put_be64(segment + 20, DESTINATION_AT);
}

static const guint8 *
copy_cdb(void)
{
    static const guint8 cdb[16] = { 0x83, [13] = LIST_SIZE };

    return cdb;
}

/* Key, code and qualifier of a command that has failed, or 0 */
static guint32
get_sense(const Outcome *outcome)
{
    if (outcome->status == SCSI_GOOD)
        return 0;
    g_assert_cmpint(outcome->status, ==, SCSI_CHECK_CONDITION);
    return (guint32)(outcome->sense[2] & 0x0f) << 16 | get_be16(outcome->sense + 12);
}

static guint32
run_copy(const Pair *pair, Initiator *initiator)
{
    guint8 list[LIST_SIZE];
    Outcome outcome;

    make_list(pair, list);
    g_assert_true(initiator_run(initiator, copy_cdb(), 16, list, LIST_SIZE, NULL, 0, &outcome));
    return get_sense(&outcome);
}

static void
fill(Initiator *initiator)
{
    guint8 data[BLOCKS * 512];

    memset(data, FILLED, sizeof(data));
    initiator_write(initiator, 0, BLOCKS, data);
}

/* What the destination has now, for who is logged in there; it must be all the same */
static guint8
get_arrived(Pair *pair)
{
    guint8 data[BLOCKS * 512];
    Initiator *reader;

    set_there(pair, NULL);
    reader = initiator_new(pair->rig);
    reader->isid[5] = 0x77;
    g_assert_cmphex(initiator_login_text(reader, "InitiatorName=" RIG_INITIATOR
                                                 "\nTargetName=" THERE "\nSessionType=Normal"),
                    ==, 0);
    initiator_settle(reader);
    initiator_read(reader, DESTINATION_AT, BLOCKS, data);
    initiator_free(reader);
    for (gsize i = 1; i < sizeof(data); i++)
        g_assert_cmpint(data[i], ==, data[0]);
    return data[0];
}

/*
 * How the other target may be set up
 */

static void
disable(const Pair *pair, IscsiTarget *target)
{
    target->enabled = FALSE;
}

static void
hide(const Pair *pair, IscsiTarget *target)
{
    target->tags[0] = RIG_TAG + 1;
}

static void
send_elsewhere(const Pair *pair, IscsiTarget *target)
{
    target->redirect.address = g_strdup("192.0.2.9:3260");
}

static void
close_to_all(const Pair *pair, IscsiTarget *target)
{
    target->access = ISCSI_ACCESS_CLOSED;
}

/* Closed, but for those whom the rule names */
static AccessRule *
add_rule(IscsiTarget *target, const char *name)
{
    target->access = ISCSI_ACCESS_CLOSED;
    target->rules = g_new0(AccessRule, 1);
    target->n_rules = 1;
    target->rules[0].id = 5;
    target->rules[0].label = g_strdup("rule");
    target->rules[0].names = g_new0(char *, 2);
    target->rules[0].names[0] = g_strdup(name);
    return &target->rules[0];
}

static void
let_in(const Pair *pair, IscsiTarget *target)
{
    (void)add_rule(target, RIG_INITIATOR);
}

static void
let_in_other(const Pair *pair, IscsiTarget *target)
{
    (void)add_rule(target, "iqn.2026-11.org.example:other");
}

static void
deny(const Pair *pair, IscsiTarget *target)
{
    add_rule(target, RIG_INITIATOR)->action = ACCESS_DENY;
    target->access = ISCSI_ACCESS_OPEN;
}

static void
show_nothing(const Pair *pair, IscsiTarget *target)
{
    add_rule(target, RIG_INITIATOR)->map = access_map_new(pair->map, &(AccessLun){ 0 }, 0, FALSE);
}

static void
show_read_only(const Pair *pair, IscsiTarget *target)
{
    add_rule(target, RIG_INITIATOR)->map = access_map_new(pair->map, NULL, 0, TRUE);
}

static void
show_elsewhere(const Pair *pair, IscsiTarget *target)
{
    add_rule(target, RIG_INITIATOR)->map =
        access_map_new(pair->map, &(AccessLun){ .lun = 9, .target_lun = 0 }, 1, FALSE);
}

static void
want_account(IscsiTarget *target, const char *user, const char *secret)
{
    target->wants_chap = TRUE;
    target->credentials =
        credentials_new(&(CredentialsAccount){ user, secret, NULL, NULL }, 1, NULL);
}

static void
want_same(const Pair *pair, IscsiTarget *target)
{
    want_account(target, USER, SECRET);
}

static void
want_other_secret(const Pair *pair, IscsiTarget *target)
{
    want_account(target, USER, OTHER_SECRET);
}

static void
want_other_user(const Pair *pair, IscsiTarget *target)
{
    want_account(target, "bert", SECRET);
}

static void
want_nobody(const Pair *pair, IscsiTarget *target)
{
    target->wants_chap = TRUE;
}

/* The target asks for what nobody has, its rule for nothing */
static void
want_nothing_by_rule(const Pair *pair, IscsiTarget *target)
{
    want_other_secret(pair, target);
    add_rule(target, RIG_INITIATOR)->auth = ACCESS_AUTH_NONE;
}

static void
want_own_account(IscsiTarget *target)
{
    want_account(target, USER, SECRET);
}

static void
want_changed_account(IscsiTarget *target)
{
    want_account(target, USER, OTHER_SECRET);
}

/*
 * Who may
 */

static const struct {
    const char *name;
    AdjustFn adjust;
    gboolean with_chap; /* how the initiator has logged in to its own target */
    guint32 sense;
} cases[] = {
    { "open", NULL, FALSE, 0 },
    { "disabled", disable, FALSE, GONE },
    { "through another portal group", hide, FALSE, GONE },
    { "redirected", send_elsewhere, FALSE, GONE },
    { "closed", close_to_all, FALSE, GONE },
    { "let in by a rule", let_in, FALSE, 0 },
    { "a rule for somebody else", let_in_other, FALSE, GONE },
    { "denied", deny, FALSE, GONE },
    { "a LUN map without the unit", show_nothing, FALSE, GONE },
    { "a LUN map that is read-only", show_read_only, FALSE, FAILED },
    { "a LUN map with another number", show_elsewhere, FALSE, 0 },
    { "CHAP there, none here", want_same, FALSE, GONE },
    { "CHAP there that nobody can pass", want_nobody, FALSE, GONE },
    { "the same with CHAP here", want_nobody, TRUE, GONE },
    { "none there, CHAP here", NULL, TRUE, 0 },
    { "the same account", want_same, TRUE, 0 },
    { "the same user with another secret", want_other_secret, TRUE, GONE },
    { "another user with the same secret", want_other_user, TRUE, GONE },
    { "a rule there that asks for nothing", want_nothing_by_rule, FALSE, 0 },
};

static void
run_case(gsize i)
{
    RigConfig config = { .adjust = cases[i].with_chap ? want_own_account : NULL };
    ChapPeer peer = { .user = USER, .secret = SECRET };
    Initiator *initiator;
    guint32 sense;
    guint8 arrived;
    Pair pair;

    pair_init(&pair, &config, cases[i].adjust);
    initiator = initiator_new(pair.rig);
    g_assert_cmphex(cases[i].with_chap ? chap_peer_login_normal(initiator, &peer)
                                       : initiator_login(initiator, NULL),
                    ==, 0);
    initiator_settle(initiator);
    fill(initiator);
    sense = run_copy(&pair, initiator);
    if (sense != cases[i].sense)
        FAIL("%s: sense %06x, not %06x", cases[i].name, sense, cases[i].sense);
    arrived = get_arrived(&pair);
    if (arrived != (cases[i].sense == 0 ? FILLED : 0))
        FAIL("%s: %02x has arrived", cases[i].name, arrived);
    initiator_free(initiator);
    pair_clear(&pair);
}

static void
test_cases(void)
{
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++)
        run_case(i);
}

/* What a session has proved is the secret that it logged in with, not the one that is set since */
static void
test_secret_changes(void)
{
    ChapPeer peer = { .user = USER, .secret = SECRET };
    Initiator *old, *late;
    Pair pair;

    pair_init(&pair, &(RigConfig){ .adjust = want_own_account }, want_other_secret);
    old = initiator_new(pair.rig);
    g_assert_cmphex(chap_peer_login_normal(old, &peer), ==, 0);
    initiator_settle(old);
    rig_set_target(pair.rig, want_changed_account);
    g_assert_cmphex(run_copy(&pair, old), ==, GONE);

    peer.secret = OTHER_SECRET;
    late = initiator_new(pair.rig);
    late->isid[5] = 2;
    g_assert_cmphex(chap_peer_login_normal(late, &peer), ==, 0);
    initiator_settle(late);
    g_assert_cmphex(run_copy(&pair, late), ==, 0);
    initiator_free(old);
    initiator_free(late);
    pair_clear(&pair);
}

/*
 * Changes while a copy is on its way
 */

static guint32
receive_sense(Initiator *initiator)
{
    do
        g_assert_true(initiator_receive(initiator));
    while (pdu_opcode(initiator->bhs) != PDU_SCSI_RESPONSE);

    if (initiator->bhs[3] == SCSI_GOOD)
        return 0;
    g_assert_cmpint(initiator->bhs[3], ==, SCSI_CHECK_CONDITION);
    return (guint32)(initiator->data[2 + 2] & 0x0f) << 16 | get_be16(initiator->data + 2 + 12);
}

/* The READ of a copy is kept back */
static Initiator *
start_held(Pair *pair, gboolean is_tcp, AdjustFn adjust)
{
    Initiator *initiator;
    guint8 bhs[PDU_BHS_SIZE], list[LIST_SIZE];

    pair_init(pair, &(RigConfig){ .type = "held" }, adjust);
    initiator = is_tcp ? initiator_new_tcp(pair->rig) : initiator_new(pair->rig);
    g_assert_cmphex(initiator_login(initiator, TWO_CONNECTIONS), ==, 0);
    initiator_settle(initiator);
    fill(initiator);

    make_list(pair, list);
    rig_hold(pair->rig);
    initiator_command(initiator, bhs, 0x80 | 0x20, copy_cdb(), 16, LIST_SIZE);
    initiator_send(initiator, bhs, list, LIST_SIZE);
    rig_settle(pair->rig);
    g_assert_cmpuint(rig_n_held(pair->rig), ==, 1);
    return initiator;
}

static void
test_access_is_taken(void)
{
    static const AdjustFn changes[] = {
        disable, hide, close_to_all, deny, show_nothing, want_same
    };

    for (gsize i = 0; i < G_N_ELEMENTS(changes); i++) {
        Pair pair;
        Initiator *initiator = start_held(&pair, FALSE, NULL);

        set_there(&pair, changes[i]);
        rig_release(pair.rig);
        g_assert_cmphex(receive_sense(initiator), ==, VANISHED);
        g_assert_cmpint(get_arrived(&pair), ==, 0);
        initiator_settle(initiator); /* the session goes on */
        initiator_free(initiator);
        pair_clear(&pair);
    }
}

static void
test_change_of_no_concern(void)
{
    Pair pair;
    Initiator *initiator = start_held(&pair, FALSE, NULL);

    set_there(&pair, let_in);
    rig_release(pair.rig);
    g_assert_cmphex(receive_sense(initiator), ==, 0);
    g_assert_cmpint(get_arrived(&pair), ==, FILLED);
    initiator_free(initiator);
    pair_clear(&pair);
}

/* The other target is removed and its unit given back without waiting for the copy */
static void
test_target_is_removed(void)
{
    gboolean is_released = FALSE;
    Pair pair;
    Initiator *initiator = start_held(&pair, FALSE, NULL);

    remove_there(&pair);
    lu_release(pair.lu, &pair.rig->control, on_released, &is_released);
    rig_wait(pair.rig, &is_released);
    rig_release(pair.rig);
    g_assert_cmphex(receive_sense(initiator), ==, VANISHED);
    initiator_free(initiator);
    snapshot_unref(&pair.map->snapshot);
    lu_free(pair.lu);
    backstore_close(pair.store);
    rig_free(pair.rig);
}

/* The connection ends in the middle, and the service stops: nothing is left, nothing is written */
static void
test_session_ends(void)
{
    Pair pair;
    Initiator *initiator = start_held(&pair, FALSE, NULL);

    initiator_drop(initiator);
    rig_settle(pair.rig);
    rig_release(pair.rig);
    rig_settle(pair.rig);
    g_assert_cmpint(get_arrived(&pair), ==, 0);
    initiator_free(initiator);
    pair_clear(&pair);
}

/* Whom the rule is for comes by IP */
static void
let_in_by_ip(const Pair *pair, IscsiTarget *target)
{
    AccessRule *rule = add_rule(target, RIG_INITIATOR);

    rule->n_networks = 1;
    rule->networks = g_new0(Network, 1);
    g_assert_true(network_parse("127.0.0.0/8", &rule->networks[0], NULL));
}

/* A session has one connection by IP, and a second one that comes from elsewhere: then it could not log
 * in to the other target with that one, nor can it copy, also when the first one has gone */
static void
test_connections_from_elsewhere(void)
{
    Initiator *first, *second;
    Pair pair;

    pair_init(&pair, NULL, let_in_by_ip);
    first = initiator_new_tcp(pair.rig);
    g_assert_cmphex(initiator_login(first, TWO_CONNECTIONS), ==, 0);
    initiator_settle(first);
    g_assert_cmphex(run_copy(&pair, first), ==, 0);

    second = initiator_new(pair.rig);
    second->tsih = first->tsih;
    second->cid = 1;
    second->cmd_sn = first->cmd_sn;
    g_assert_cmphex(initiator_login(second, TWO_CONNECTIONS), ==, 0);
    g_assert_cmphex(run_copy(&pair, first), ==, GONE);

    initiator_drop(first);
    rig_settle(pair.rig);
    second->cmd_sn = first->cmd_sn;
    g_assert_cmphex(run_copy(&pair, second), ==, GONE);
    initiator_free(first);
    initiator_free(second);
    pair_clear(&pair);
}

/* The second one comes while the copy is on its way */
static void
test_joined_from_elsewhere(void)
{
    Initiator *initiator, *second;
    Pair pair;

    initiator = start_held(&pair, TRUE, let_in_by_ip);
    second = initiator_new(pair.rig);
    second->tsih = initiator->tsih;
    second->cid = 1;
    second->cmd_sn = initiator->cmd_sn;
    g_assert_cmphex(initiator_login(second, TWO_CONNECTIONS), ==, 0);
    rig_release(pair.rig);
    g_assert_cmphex(receive_sense(initiator), ==, VANISHED);
    g_assert_cmpint(get_arrived(&pair), ==, 0);
    initiator_free(initiator);
    initiator_free(second);
    pair_clear(&pair);
}

/* Copies by two sessions on two workers, while the other target changes all the time */
static void
test_threads(void)
{
    Initiator *initiators[2];
    guint n_good = 0, n_gone = 0;
    Pair pair;

    pair_init(&pair, &(RigConfig){ .n_workers = 2, .is_threaded = TRUE }, NULL);
    for (guint i = 0; i < 2; i++) {
        initiators[i] = initiator_new(pair.rig);
        initiators[i]->isid[5] = (guint8)(i + 1);
        g_assert_cmphex(initiator_login(initiators[i], NULL), ==, 0);
        initiator_settle(initiators[i]);
    }
    fill(initiators[0]);

    for (guint i = 0; i < 300; i++) {
        guint8 bhs[PDU_BHS_SIZE], list[LIST_SIZE];

        make_list(&pair, list);
        for (guint j = 0; j < 2; j++) {
            /* Each to blocks of its own: what two write at once is a race of theirs */
            put_be64(list + LIST_SIZE - 8, DESTINATION_AT + j * BLOCKS);
            initiator_command(initiators[j], bhs, 0x80 | 0x20, copy_cdb(), 16, LIST_SIZE);
            initiator_send(initiators[j], bhs, list, LIST_SIZE);
        }
        set_there(&pair, i % 2 == 0 ? deny : NULL);
        for (guint j = 0; j < 2; j++) {
            guint32 sense = receive_sense(initiators[j]);

            g_assert_true(sense == 0 || sense == GONE || sense == VANISHED || sense == FAILED);
            n_good += sense == 0;
            n_gone += sense != 0;
        }
    }
    g_test_message("%u copies, %u refused", n_good, n_gone);
    g_assert_cmpuint(n_good + n_gone, ==, 600);

    initiator_free(initiators[0]);
    initiator_free(initiators[1]);
    pair_clear(&pair);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/iscsi/reach/cases", test_cases);
    g_test_add_func("/iscsi/reach/secret-changes", test_secret_changes);
    g_test_add_func("/iscsi/reach/access-is-taken", test_access_is_taken);
    g_test_add_func("/iscsi/reach/change-of-no-concern", test_change_of_no_concern);
    g_test_add_func("/iscsi/reach/target-is-removed", test_target_is_removed);
    g_test_add_func("/iscsi/reach/session-ends", test_session_ends);
    g_test_add_func("/iscsi/reach/connections-from-elsewhere", test_connections_from_elsewhere);
    g_test_add_func("/iscsi/reach/joined-from-elsewhere", test_joined_from_elsewhere);
    g_test_add_func("/iscsi/reach/threads", test_threads);
    return g_test_run();
}
