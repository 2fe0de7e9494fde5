/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Authentication from socket to session: every algorithm, both directions, per
 * target and per rule, discovery, and what the journal is told.
 */

#include "chap-peer.h"

#include <string.h>

#include "iscsi/chap.h"

#define USER          "anne"
#define SECRET        "correct horse battery"
#define OTHER_USER    "bert"
#define OTHER_SECRET  "another one's secret"
#define MUTUAL_USER   "disk"
#define MUTUAL_SECRET "the disk's own secret"

static const CredentialsAccount account = { USER, SECRET, MUTUAL_USER, MUTUAL_SECRET };
static const CredentialsAccount changed = { USER, "another secret now", NULL, NULL };

static void
want_chap(IscsiTarget *target)
{
    target->wants_chap = TRUE;
    target->credentials = credentials_new(&account, 1, NULL);
}

static void
want_changed(IscsiTarget *target)
{
    target->wants_chap = TRUE;
    target->credentials = credentials_new(&changed, 1, NULL);
}

static void
want_the_impossible(IscsiTarget *target)
{
    target->wants_chap = TRUE;
}

/* The target asks for nothing, but who comes from somewhere is asked by his rule */
static void
want_chap_by_rule(IscsiTarget *target)
{
    target->access = ISCSI_ACCESS_CLOSED;
    target->rules = g_new0(AccessRule, 1);
    target->n_rules = 1;
    target->rules[0].id = 5;
    target->rules[0].label = g_strdup("all");
    target->rules[0].auth = ACCESS_AUTH_CHAP;
    target->rules[0].credentials = credentials_new(&account, 1, NULL);
}

static void
check_session(Rig *rig, Initiator *initiator)
{
    guint8 in[512];

    initiator_settle(initiator);
    initiator_read(initiator, 0, 1, in);
    g_assert_cmpstr(rig_last_event(rig, ISCSI_EVENT_SESSION_OPENED)->chap_user, ==, USER);
}

static void
test_algorithms(void)
{
    static const struct {
        const char *list;
        guint chosen;
    } cases[] = { { "5", 5 }, { "6", 6 }, { "7", 7 }, { "8", 8 }, { "5,6,7,8", 8 }, { "6,5", 6 } };

    for (gsize i = 0; i < G_N_ELEMENTS(cases) * 4; i++) {
        Rig *rig = rig_new(&(RigConfig){ .adjust = want_chap });
        Initiator *initiator = initiator_new(rig);
        gboolean is_mutual = i % 2 != 0;
        ChapPeer peer = {
            .algorithms = cases[i / 4].list,
            .user = USER,
            .secret = SECRET,
            .mutual_user = is_mutual ? MUTUAL_USER : NULL,
            .mutual_secret = MUTUAL_SECRET,
            .is_base64 = i / 2 % 2 != 0,
        };

        g_assert_cmphex(chap_peer_login_normal(initiator, &peer), ==, 0);
        g_assert_cmpuint(peer.algorithm, ==, cases[i / 4].chosen);
        g_assert_cmpint(peer.is_target_right, ==, is_mutual);
        check_session(rig, initiator);
        initiator_free(initiator);
        rig_free(rig);
    }
}

static void
want_chap_of_two(IscsiTarget *target)
{
    const CredentialsAccount two[] = { account, { OTHER_USER, OTHER_SECRET, NULL, NULL } };

    target->wants_chap = TRUE;
    target->credentials = credentials_new(two, G_N_ELEMENTS(two), NULL);
}

/* Whoever may log in alone may still not take over, or share, the session of another user */
static void
test_join_as_another(void)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = want_chap_of_two, .n_workers = 2 });
    Initiator *initiator = initiator_new(rig), *other = initiator_new(rig);
    Initiator *same = initiator_new(rig);
    ChapPeer peer = { .user = USER, .secret = SECRET };
    ChapPeer stranger = { .user = OTHER_USER, .secret = OTHER_SECRET };

    g_assert_cmphex(chap_peer_login_normal(initiator, &peer), ==, 0);
    check_session(rig, initiator);
    other->tsih = same->tsih = initiator->tsih;
    g_assert_cmphex(chap_peer_login_normal(other, &stranger), ==, 0x0201);
    g_assert_nonnull(
        strstr(rig_last_event(rig, ISCSI_EVENT_LOGIN_REFUSED)->reason, "as another CHAP user"));
    initiator_settle(initiator);
    g_assert_cmphex(chap_peer_login_normal(same, &peer), ==, 0);
    g_assert_true(initiator_is_closed(initiator));
    initiator_free(initiator);
    initiator_free(other);
    initiator_free(same);
    rig_free(rig);
}

/* One rule for who comes by IP, another one for who does not */
static void
let_in_by_two_rules(IscsiTarget *target)
{
    target->access = ISCSI_ACCESS_CLOSED;
    target->rules = g_new0(AccessRule, 2);
    target->n_rules = 2;
    target->rules[0].id = 5;
    target->rules[0].label = g_strdup("near");
    target->rules[0].networks = g_new(Network, 1);
    target->rules[0].n_networks = 1;
    g_assert_true(network_parse("127.0.0.0/8", target->rules[0].networks, NULL));
    target->rules[1].id = 6;
    target->rules[1].label = g_strdup("others");
}

static void
test_join_by_another_rule(void)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = let_in_by_two_rules, .n_workers = 2 });
    Initiator *initiator = initiator_new_tcp(rig), *other = initiator_new(rig);
    Initiator *same = initiator_new_tcp(rig);

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    g_assert_cmpuint(rig_last_event(rig, ISCSI_EVENT_SESSION_OPENED)->rule_id, ==, 5);
    other->tsih = same->tsih = initiator->tsih;
    g_assert_cmphex(initiator_login(other, NULL), ==, 0x0202);
    g_assert_nonnull(
        strstr(rig_last_event(rig, ISCSI_EVENT_LOGIN_REFUSED)->reason, "by another access rule"));
    initiator_settle(initiator);
    g_assert_cmphex(initiator_login(same, NULL), ==, 0);
    initiator_free(initiator);
    initiator_free(other);
    initiator_free(same);
    rig_free(rig);
}

static void
test_refused(void)
{
    static const struct {
        ChapPeer peer;
        void (*adjust)(IscsiTarget *target);
        const char *reason;
    } cases[] = {
        { { .user = USER, .secret = "a wrong secret" }, want_chap, "“anne” has another secret" },
        { { .user = "eve", .secret = SECRET }, want_chap, "“eve” is not known here" },
        { { .algorithms = "1,2", .user = USER, .secret = SECRET },
          want_chap,
          "the initiator offers none that is known" },
        { { .user = USER, .secret = SECRET, .mutual_user = MUTUAL_USER },
          want_changed,
          "“anne” has another secret" },
        { { .user = USER, .secret = "another secret now", .mutual_user = MUTUAL_USER },
          want_changed,
          "has no mutual user and secret" },
        { { .user = USER, .secret = SECRET }, want_the_impossible, "“anne” is not known here" },
        { { .user = USER, .secret = SECRET }, NULL, "nothing is asked for here" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        Rig *rig = rig_new(&(RigConfig){ .adjust = cases[i].adjust });
        Initiator *initiator = initiator_new(rig);
        ChapPeer peer = cases[i].peer;
        const RigEvent *event;

        g_assert_cmphex(chap_peer_login_normal(initiator, &peer), ==, 0x0201);
        g_assert_cmpuint(initiator->data_size, ==, 0);
        g_assert_true(initiator_is_closed(initiator));
        event = rig_last_event(rig, ISCSI_EVENT_LOGIN_REFUSED);
        g_assert_cmphex(event->status, ==, 0x0201);
        g_assert_nonnull(strstr(event->reason, cases[i].reason));
        g_assert_null(strstr(event->reason, peer.secret));
        g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_OPENED), ==, 0);
        initiator_free(initiator);
        rig_free(rig);
    }
}

static void
test_none(void)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = want_chap });
    Initiator *initiator = initiator_new(rig);

    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0x0201);
    rig_settle(rig);
    g_assert_nonnull(strstr(rig_last_event(rig, ISCSI_EVENT_LOGIN_REFUSED)->reason,
                            "the initiator skips authentication"));
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_by_rule(void)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = want_chap_by_rule });
    Initiator *initiator = initiator_new(rig);
    Initiator *without = initiator_new(rig);
    ChapPeer peer = { .user = USER, .secret = SECRET };

    g_assert_cmphex(chap_peer_login_normal(initiator, &peer), ==, 0);
    check_session(rig, initiator);
    g_assert_cmpuint(rig_last_event(rig, ISCSI_EVENT_SESSION_OPENED)->rule_id, ==, 5);
    without->isid[5] = 2;
    g_assert_cmphex(initiator_login(without, NULL), ==, 0x0201);
    initiator_free(initiator);
    initiator_free(without);
    rig_free(rig);
}

/* A wrong target is the initiator's business; it gets to know */
static void
test_wrong_target(void)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = want_chap });
    Initiator *initiator = initiator_new(rig);
    ChapPeer peer = { .user = USER, .secret = SECRET, .mutual_user = MUTUAL_USER };

    peer.mutual_secret = "not the disk's secret";
    g_assert_cmphex(chap_peer_login_normal(initiator, &peer), ==, 0);
    g_assert_false(peer.is_target_right);
    initiator_free(initiator);
    rig_free(rig);
}

/* A new secret holds for new logins; the session goes on */
static void
test_secret_changes(void)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = want_chap });
    Initiator *old = initiator_new(rig);
    Initiator *late = initiator_new(rig);
    ChapPeer peer = { .user = USER, .secret = SECRET };
    guint8 in[512];

    g_assert_cmphex(chap_peer_login_normal(old, &peer), ==, 0);
    initiator_settle(old);
    rig_set_target(rig, want_changed);
    initiator_read(old, 0, 1, in);
    late->isid[5] = 2;
    g_assert_cmphex(chap_peer_login_normal(late, &peer), ==, 0x0201);
    initiator_free(late);
    late = initiator_new(rig);
    late->isid[5] = 2;
    peer.secret = changed.secret;
    g_assert_cmphex(chap_peer_login_normal(late, &peer), ==, 0);
    initiator_free(old);
    initiator_free(late);
    rig_free(rig);
}

/* The target begins to ask for proof while a login without one is under way */
static void
test_target_changes_during_login(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);

    g_assert_cmphex(chap_peer_exchange(initiator, 0x81,
                                       "InitiatorName=" RIG_INITIATOR "\nTargetName=" RIG_TARGET
                                       "\nSessionType=Normal\nAuthMethod=None"),
                    ==, 0);
    rig_set_target(rig, want_chap);
    g_assert_cmphex(initiator_login_text(initiator, "X-test=1"), ==, 0x0201);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_OPENED), ==, 0);
    initiator_free(initiator);
    rig_free(rig);
}

/* Who would be refused, because the target has changed meanwhile, ends nobody's session before that */
static void
run_stale(gboolean is_proved)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = is_proved ? want_chap : NULL });
    Initiator *stale = initiator_new(rig), *good = initiator_new(rig);
    ChapPeer old = { .user = USER, .secret = SECRET };
    ChapPeer new = { .user = USER, .secret = changed.secret };
    const char *names =
        "InitiatorName=" RIG_INITIATOR "\nTargetName=" RIG_TARGET "\nSessionType=Normal";
    guint8 in[512];

    if (is_proved)
        g_assert_cmphex(chap_peer_prove(stale, &old, names), ==, 0);
    else
        g_assert_cmphex(chap_peer_exchange(stale, 0x81,
                                           "InitiatorName=" RIG_INITIATOR "\nTargetName=" RIG_TARGET
                                           "\nSessionType=Normal\nAuthMethod=None"),
                        ==, 0);
    rig_set_target(rig, want_changed);
    g_assert_cmphex(chap_peer_login_normal(good, &new), ==, 0);
    initiator_settle(good);

    g_assert_cmphex(initiator_login_text(stale, "X-test=1"), ==, 0x0201);
    rig_settle(rig);
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_CLOSED), ==, 0);
    initiator_read(good, 0, 1, in);
    initiator_free(stale);
    initiator_free(good);
    rig_free(rig);
}

static void
test_stale_login_ends_nothing(void)
{
    run_stale(FALSE);
    run_stale(TRUE);
}

/* Of all targets */

static void
set_security(Rig *rig, guint32 algorithms, gboolean wants_chap)
{
    IscsiSecurity *security = iscsi_security_new();
    gboolean is_done = FALSE;

    security->chap_algorithms = algorithms;
    security->discovery_wants_chap = wants_chap;
    security->discovery_credentials = credentials_new(&account, 1, NULL);
    iscsi_service_set_security(rig->service, security, rig_set_flag, &is_done);
    rig_wait(rig, &is_done);
}

static void
test_discovery(void)
{
    for (gsize i = 0; i < 2; i++) {
        Rig *rig = rig_new(&(RigConfig){ .n_workers = 2 });
        Initiator *initiator, *none, *wrong;
        ChapPeer peer = { .algorithms = "7,8",
                          .user = USER,
                          .secret = SECRET,
                          .mutual_user = i == 1 ? MUTUAL_USER : NULL,
                          .mutual_secret = MUTUAL_SECRET };
        ChapPeer wrong_peer = { .user = USER, .secret = "a wrong secret" };

        set_security(rig, CHAP_ALL, TRUE);
        initiator = initiator_new(rig);
        none = initiator_new(rig);
        wrong = initiator_new(rig);
        g_assert_cmphex(chap_peer_login_discovery(initiator, &peer), ==, 0);
        g_assert_cmpint(peer.is_target_right, ==, i == 1);
        g_assert_cmphex(initiator_login_discovery(none), ==, 0x0201);
        g_assert_cmphex(chap_peer_login_discovery(wrong, &wrong_peer), ==, 0x0201);
        initiator_free(initiator);
        initiator_free(none);
        initiator_free(wrong);
        rig_free(rig);
    }
}

/* The secret is changed while a login that has proved the old one is under way */
static void
test_discovery_secret_changes(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator;
    ChapPeer peer = { .user = USER, .secret = SECRET };
    IscsiSecurity *security = iscsi_security_new();
    gboolean is_done = FALSE;

    set_security(rig, CHAP_ALL, TRUE);
    initiator = initiator_new(rig);
    g_assert_cmphex(
        chap_peer_prove(initiator, &peer, "InitiatorName=" RIG_INITIATOR "\nSessionType=Discovery"),
        ==, 0);
    security->discovery_wants_chap = TRUE;
    security->discovery_credentials = credentials_new(&changed, 1, NULL);
    iscsi_service_set_security(rig->service, security, rig_set_flag, &is_done);
    rig_wait(rig, &is_done);
    g_assert_cmphex(initiator_login_text(initiator, "X-test=1"), ==, 0x0201);
    initiator_free(initiator);
    rig_free(rig);
}

/* Also for a connection that came before */
static void
test_discovery_changes_during_login(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);

    g_assert_cmphex(chap_peer_exchange(initiator, 0x81,
                                       "InitiatorName=" RIG_INITIATOR
                                       "\nSessionType=Discovery\nAuthMethod=None"),
                    ==, 0);
    set_security(rig, CHAP_ALL, TRUE);
    g_assert_cmphex(initiator_login_text(initiator, "X-test=1"), ==, 0x0201);
    initiator_free(initiator);
    rig_free(rig);
}

static void
test_policy(void)
{
    static const struct {
        guint32 allowed;
        guint16 status;
        guint chosen;
    } cases[] = {
        { CHAP_ALL, 0, 8 },
        { 1u << CHAP_SHA256 | 1u << CHAP_MD5, 0, 7 },
        { 1u << CHAP_MD5, 0, 5 },
        { 0, 0x0201, 0 },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        Rig *rig = rig_new(&(RigConfig){ .adjust = want_chap });
        Initiator *initiator;
        ChapPeer peer = { .algorithms = "5,6,7,8", .user = USER, .secret = SECRET };

        set_security(rig, cases[i].allowed, FALSE);
        initiator = initiator_new(rig);
        g_assert_cmphex(chap_peer_login_normal(initiator, &peer), ==, cases[i].status);
        g_assert_cmpuint(peer.algorithm, ==, cases[i].chosen);
        initiator_free(initiator);
        rig_free(rig);
    }
}

/* Workers verify at the same time */
static void
test_threads(void)
{
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 2, .is_threaded = TRUE, .adjust = want_chap });

    for (guint i = 0; i < 40; i++) {
        Initiator *initiator = initiator_new_tcp(rig);
        ChapPeer peer = { .algorithms = "8,7,6,5",
                          .user = USER,
                          .secret = i % 3 == 0 ? "a wrong secret" : SECRET };

        initiator->isid[5] = (guint8)i;
        g_assert_cmphex(chap_peer_login_normal(initiator, &peer), ==, i % 3 == 0 ? 0x0201 : 0);
        if (i % 4 == 0)
            rig_set_target(rig, want_chap);
        initiator_free(initiator);
    }
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/iscsi/auth/algorithms", test_algorithms);
    g_test_add_func("/iscsi/auth/join-as-another", test_join_as_another);
    g_test_add_func("/iscsi/auth/join-by-another-rule", test_join_by_another_rule);
    g_test_add_func("/iscsi/auth/refused", test_refused);
    g_test_add_func("/iscsi/auth/none", test_none);
    g_test_add_func("/iscsi/auth/by-rule", test_by_rule);
    g_test_add_func("/iscsi/auth/wrong-target", test_wrong_target);
    g_test_add_func("/iscsi/auth/secret-changes", test_secret_changes);
    g_test_add_func("/iscsi/auth/target-changes-during-login", test_target_changes_during_login);
    g_test_add_func("/iscsi/auth/stale-login-ends-nothing", test_stale_login_ends_nothing);
    g_test_add_func("/iscsi/auth/discovery-secret-changes", test_discovery_secret_changes);
    g_test_add_func("/iscsi/auth/discovery", test_discovery);
    g_test_add_func("/iscsi/auth/discovery-changes-during-login",
                    test_discovery_changes_during_login);
    g_test_add_func("/iscsi/auth/policy", test_policy);
    g_test_add_func("/iscsi/auth/threads", test_threads);
    return g_test_run();
}
