/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The nexus registry alone: claims of two workers, played by two mailboxes of
 * the test, in every order that messages can arrive in.
 */

#include "iscsi/registry.h"

#include "iscsi/login.h"

typedef struct {
    Mailbox registry_inbox;
    Mailbox home;
    Registry *registry;
} Bed;

typedef struct {
    Claim claim;
    guint n_claimed, n_evicted, n_released;
    gboolean holds_eviction; /* do not acknowledge */
} TestClaim;

static void
bed_init(Bed *bed, guint max_sessions)
{
    g_assert_true(mailbox_init(&bed->registry_inbox, NULL));
    g_assert_true(mailbox_init(&bed->home, NULL));
    bed->registry = registry_new(&bed->registry_inbox, max_sessions);
}

static void
bed_turn(Bed *bed)
{
    for (guint i = 0; i < 6; i++) {
        (void)mailbox_drain(&bed->registry_inbox);
        (void)mailbox_drain(&bed->home);
    }
}

static void
bed_deinit(Bed *bed)
{
    bed_turn(bed);
    registry_free(bed->registry);
    mailbox_deinit(&bed->registry_inbox);
    mailbox_deinit(&bed->home);
}

static void
on_claimed(Claim *claim)
{
    ((TestClaim *)claim->user_data)->n_claimed++;
}

static void
on_evict(Claim *claim)
{
    TestClaim *test = claim->user_data;

    test->n_evicted++;
    if (!test->holds_eviction)
        registry_evicted(claim);
}

static void
on_released(Claim *claim)
{
    ((TestClaim *)claim->user_data)->n_released++;
}

static void
claim_init(Bed *bed, TestClaim *test, const char *initiator, guint8 isid)
{
    *test = (TestClaim){ 0 };
    test->claim = (Claim){
        .registry = bed->registry,
        .home = &bed->home,
        .type = ISCSI_SESSION_NORMAL,
        .isid = { 0x80, 0, 0, 0, 0, isid },
        .tag = 1,
        .initiator_name = g_strdup(initiator),
        .target_name = g_strdup("iqn.t"),
        .claimed = on_claimed,
        .evict = on_evict,
        .released = on_released,
        .user_data = test,
    };
}

static void
claim_deinit(TestClaim *test)
{
    g_free(test->claim.initiator_name);
    g_free(test->claim.target_name);
    g_free(test->claim.discovered);
}

static void
release(Bed *bed, TestClaim *test)
{
    registry_release(&test->claim);
    bed_turn(bed);
    g_assert_cmpuint(test->n_released, ==, 1);
    claim_deinit(test);
}

static void
test_grant(void)
{
    Bed bed;
    TestClaim a, b;

    bed_init(&bed, 10);
    claim_init(&bed, &a, "iqn.a", 1);
    claim_init(&bed, &b, "iqn.a", 2);
    registry_claim(&a.claim);
    registry_claim(&b.claim);
    bed_turn(&bed);
    g_assert_cmpuint(a.n_claimed, ==, 1);
    g_assert_cmphex(a.claim.status, ==, 0);
    g_assert_cmpuint(a.claim.tsih, !=, 0);
    g_assert_cmpuint(b.claim.tsih, !=, a.claim.tsih);
    g_assert_cmpuint(registry_n_sessions(bed.registry), ==, 2);
    release(&bed, &a);
    release(&bed, &b);
    g_assert_cmpuint(registry_n_sessions(bed.registry), ==, 0);
    bed_deinit(&bed);
}

static void
test_reinstatement_waits(void)
{
    Bed bed;
    TestClaim old, new;

    bed_init(&bed, 1);
    claim_init(&bed, &old, "iqn.a", 1);
    claim_init(&bed, &new, "iqn.a", 1);
    registry_claim(&old.claim);
    bed_turn(&bed);
    registry_claim(&new.claim);
    bed_turn(&bed);
    g_assert_cmpuint(old.n_evicted, ==, 1);
    g_assert_cmpuint(new.n_claimed, ==, 0);

    release(&bed, &old);
    g_assert_cmpuint(new.n_claimed, ==, 1);
    g_assert_cmphex(new.claim.status, ==, 0);
    release(&bed, &new);
    bed_deinit(&bed);
}

static void
test_release_meets_eviction(void)
{
    Bed bed;
    TestClaim old, new;

    bed_init(&bed, 10);
    claim_init(&bed, &old, "iqn.a", 1);
    claim_init(&bed, &new, "iqn.a", 1);
    old.holds_eviction = TRUE;
    registry_claim(&old.claim);
    bed_turn(&bed);
    registry_claim(&new.claim);
    (void)mailbox_drain(&bed.registry_inbox);

    /* The eviction is on its way when the session ends by itself */
    registry_release(&old.claim);
    bed_turn(&bed);
    g_assert_cmpuint(old.n_released, ==, 0);
    g_assert_cmpuint(new.n_claimed, ==, 0);
    registry_evicted(&old.claim);
    bed_turn(&bed);
    g_assert_cmpuint(old.n_released, ==, 1);
    g_assert_cmpuint(new.n_claimed, ==, 1);
    claim_deinit(&old);
    release(&bed, &new);
    bed_deinit(&bed);
}

static void
test_queue_of_reinstatements(void)
{
    Bed bed;
    TestClaim claims[4];

    bed_init(&bed, 10);
    for (guint i = 0; i < G_N_ELEMENTS(claims); i++) {
        claim_init(&bed, &claims[i], "iqn.a", 1);
        registry_claim(&claims[i].claim);
        bed_turn(&bed);
    }
    for (guint i = 0; i < G_N_ELEMENTS(claims); i++) {
        g_assert_cmpuint(claims[i].n_claimed, ==, 1);
        g_assert_cmpuint(claims[i].n_evicted, ==, i + 1 < G_N_ELEMENTS(claims));
        release(&bed, &claims[i]);
    }
    bed_deinit(&bed);
}

static void
test_queue_is_bounded(void)
{
    Bed bed;
    TestClaim claims[REGISTRY_WAITERS_MAX + 2];

    bed_init(&bed, 10);
    for (guint i = 0; i < G_N_ELEMENTS(claims); i++) {
        claim_init(&bed, &claims[i], "iqn.a", 1);
        registry_claim(&claims[i].claim);
    }
    bed_turn(&bed);
    g_assert_cmpuint(claims[REGISTRY_WAITERS_MAX + 1].n_claimed, ==, 1);
    g_assert_cmphex(claims[REGISTRY_WAITERS_MAX + 1].claim.status, ==,
                    LOGIN_STATUS_OUT_OF_RESOURCES);
    claim_deinit(&claims[REGISTRY_WAITERS_MAX + 1]);
    for (guint i = 0; i <= REGISTRY_WAITERS_MAX; i++)
        release(&bed, &claims[i]);
    bed_deinit(&bed);
}

static void
test_session_limit(void)
{
    Bed bed;
    TestClaim a, b;

    bed_init(&bed, 1);
    claim_init(&bed, &a, "iqn.a", 1);
    claim_init(&bed, &b, "iqn.b", 1);
    registry_claim(&a.claim);
    registry_claim(&b.claim);
    bed_turn(&bed);
    g_assert_cmphex(b.claim.status, ==, LOGIN_STATUS_OUT_OF_RESOURCES);
    g_assert_nonnull(b.claim.reason);
    claim_deinit(&b);
    release(&bed, &a);
    bed_deinit(&bed);
}

static void
test_target_limit(void)
{
    Bed bed;
    TestClaim a, b;

    bed_init(&bed, 10);
    claim_init(&bed, &a, "iqn.a", 1);
    claim_init(&bed, &b, "iqn.b", 1);
    a.claim.target_limit = b.claim.target_limit = 1;
    registry_claim(&a.claim);
    registry_claim(&b.claim);
    bed_turn(&bed);
    g_assert_cmphex(b.claim.status, ==, LOGIN_STATUS_OUT_OF_RESOURCES);
    claim_deinit(&b);
    release(&bed, &a);
    bed_deinit(&bed);
}

static void
test_tsih_is_not_reused_soon(void)
{
    Bed bed;
    guint16 last = 0;

    bed_init(&bed, 10);
    for (guint i = 0; i < 70000; i++) {
        TestClaim claim;

        claim_init(&bed, &claim, "iqn.a", 1);
        registry_claim(&claim.claim);
        bed_turn(&bed);
        g_assert_cmpuint(claim.claim.tsih, ==, last == G_MAXUINT16 ? 1 : last + 1);
        last = claim.claim.tsih;
        release(&bed, &claim);
    }
    bed_deinit(&bed);
}

/* Not at all while a session has it */
static void
test_tsih_in_use_is_left_out(void)
{
    Bed bed;
    TestClaim old;

    bed_init(&bed, 10);
    claim_init(&bed, &old, "iqn.old", 1);
    registry_claim(&old.claim);
    bed_turn(&bed);
    for (guint i = 0; i < 70000; i++) {
        TestClaim claim;

        claim_init(&bed, &claim, "iqn.a", 1);
        registry_claim(&claim.claim);
        bed_turn(&bed);
        g_assert_cmpuint(claim.claim.tsih, !=, old.claim.tsih);
        g_assert_cmpuint(claim.claim.tsih, !=, 0);
        release(&bed, &claim);
    }
    release(&bed, &old);
    bed_deinit(&bed);
}

static void
test_unknown_tsih(void)
{
    Bed bed;
    TestClaim a;

    bed_init(&bed, 10);
    claim_init(&bed, &a, "iqn.a", 1);
    a.claim.requested_tsih = 5;
    registry_claim(&a.claim);
    bed_turn(&bed);
    g_assert_cmphex(a.claim.status, ==, LOGIN_STATUS_NO_SESSION);
    claim_deinit(&a);
    bed_deinit(&bed);
}

static void
test_known_tsih(void)
{
    Bed bed;
    TestClaim a, more, stranger;

    bed_init(&bed, 10);
    claim_init(&bed, &a, "iqn.a", 1);
    claim_init(&bed, &more, "iqn.a", 1);
    claim_init(&bed, &stranger, "iqn.b", 1);
    registry_claim(&a.claim);
    bed_turn(&bed);
    a.claim.place = &bed;
    more.claim.requested_tsih = stranger.claim.requested_tsih = a.claim.tsih;
    registry_claim(&more.claim);
    registry_claim(&stranger.claim);
    bed_turn(&bed);
    g_assert_cmphex(more.claim.status, ==, LOGIN_STATUS_SUCCESS);
    g_assert_true(more.claim.joined == &bed);
    g_assert_cmpuint(more.claim.tsih, ==, a.claim.tsih);
    g_assert_cmphex(stranger.claim.status, ==, LOGIN_STATUS_NO_SESSION);
    g_assert_null(stranger.claim.joined);
    g_assert_cmpuint(registry_n_sessions(bed.registry), ==, 1);
    g_assert_cmpuint(a.n_evicted, ==, 0);
    claim_deinit(&more);
    claim_deinit(&stranger);
    release(&bed, &a);
    bed_deinit(&bed);
}

/* All of the nexus must fit, not the number alone: RFC 7143 6.3.1 */
static void
test_known_tsih_of_another_nexus(void)
{
    Bed bed;
    TestClaim a, others[5];

    bed_init(&bed, 10);
    claim_init(&bed, &a, "iqn.a", 1);
    registry_claim(&a.claim);
    bed_turn(&bed);
    for (guint i = 0; i < G_N_ELEMENTS(others); i++)
        claim_init(&bed, &others[i], "iqn.a", 1);
    others[0].claim.isid[5]++;
    others[1].claim.tag++;
    others[2].claim.target_name[4]++;
    others[3].claim.initiator_name[4]++;
    g_clear_pointer(&others[4].claim.target_name, g_free);
    others[4].claim.type = ISCSI_SESSION_DISCOVERY;
    for (guint i = 0; i < G_N_ELEMENTS(others); i++) {
        others[i].claim.requested_tsih = a.claim.tsih;
        registry_claim(&others[i].claim);
        bed_turn(&bed);
        g_assert_cmphex(others[i].claim.status, ==, LOGIN_STATUS_NO_SESSION);
        claim_deinit(&others[i]);
    }
    release(&bed, &a);
    bed_deinit(&bed);
}

/* A session that ends for a new one is not joined any more */
static void
test_evicted_is_not_joined(void)
{
    Bed bed;
    TestClaim a, again, more;

    bed_init(&bed, 10);
    claim_init(&bed, &a, "iqn.a", 1);
    claim_init(&bed, &again, "iqn.a", 1);
    claim_init(&bed, &more, "iqn.a", 1);
    registry_claim(&a.claim);
    bed_turn(&bed);
    registry_claim(&again.claim);
    more.claim.requested_tsih = a.claim.tsih;
    registry_claim(&more.claim);
    bed_turn(&bed);
    g_assert_cmpuint(a.n_evicted, ==, 1);
    g_assert_cmphex(more.claim.status, ==, LOGIN_STATUS_NO_SESSION);
    claim_deinit(&more);
    release(&bed, &a);
    release(&bed, &again);
    bed_deinit(&bed);
}

static void
claim_init_discovery(Bed *bed, TestClaim *test, guint8 isid, const char *discovered)
{
    claim_init(bed, test, "iqn.a", isid);
    g_clear_pointer(&test->claim.target_name, g_free);
    test->claim.type = ISCSI_SESSION_DISCOVERY;
    test->claim.discovered = g_strdup(discovered);
}

/* From those of other portals, ports and names, and from normal ones: RFC 7143 7.4.2 */
static void
test_discovery_sessions_are_apart(void)
{
    Bed bed;
    TestClaim claims[5];

    bed_init(&bed, 10);
    claim_init_discovery(&bed, &claims[0], 1, "192.0.2.1:3260");
    claim_init_discovery(&bed, &claims[1], 1, "192.0.2.2:3260");
    claim_init_discovery(&bed, &claims[2], 2, "192.0.2.1:3260");
    claim_init_discovery(&bed, &claims[3], 1, "iqn.t");
    claim_init(&bed, &claims[4], "iqn.a", 1);
    for (guint i = 0; i < G_N_ELEMENTS(claims); i++) {
        registry_claim(&claims[i].claim);
        bed_turn(&bed);
    }
    for (guint i = 0; i < G_N_ELEMENTS(claims); i++) {
        g_assert_cmpuint(claims[i].n_claimed, ==, 1);
        g_assert_cmphex(claims[i].claim.status, ==, 0);
        g_assert_cmpuint(claims[i].n_evicted, ==, 0);
    }
    for (guint i = 0; i < G_N_ELEMENTS(claims); i++)
        release(&bed, &claims[i]);
    bed_deinit(&bed);
}

/* RFC 7143 7.4.2.1: an initiator port has one at an address; the limit is not its concern */
static void
test_discovery_is_reinstated(void)
{
    Bed bed;
    TestClaim old, new;

    bed_init(&bed, 1);
    claim_init_discovery(&bed, &old, 1, "192.0.2.1:3260");
    claim_init_discovery(&bed, &new, 1, "192.0.2.1:3260");
    registry_claim(&old.claim);
    bed_turn(&bed);
    registry_claim(&new.claim);
    bed_turn(&bed);
    g_assert_cmpuint(old.n_evicted, ==, 1);
    g_assert_cmpuint(new.n_claimed, ==, 0);
    release(&bed, &old);
    g_assert_cmpuint(new.n_claimed, ==, 1);
    g_assert_cmphex(new.claim.status, ==, 0);
    release(&bed, &new);
    bed_deinit(&bed);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/iscsi/registry/grant", test_grant);
    g_test_add_func("/iscsi/registry/reinstatement-waits", test_reinstatement_waits);
    g_test_add_func("/iscsi/registry/release-meets-eviction", test_release_meets_eviction);
    g_test_add_func("/iscsi/registry/queue-of-reinstatements", test_queue_of_reinstatements);
    g_test_add_func("/iscsi/registry/queue-is-bounded", test_queue_is_bounded);
    g_test_add_func("/iscsi/registry/session-limit", test_session_limit);
    g_test_add_func("/iscsi/registry/target-limit", test_target_limit);
    g_test_add_func("/iscsi/registry/tsih-is-not-reused-soon", test_tsih_is_not_reused_soon);
    g_test_add_func("/iscsi/registry/tsih-in-use-is-left-out", test_tsih_in_use_is_left_out);
    g_test_add_func("/iscsi/registry/unknown-tsih", test_unknown_tsih);
    g_test_add_func("/iscsi/registry/known-tsih", test_known_tsih);
    g_test_add_func("/iscsi/registry/known-tsih-of-another-nexus",
                    test_known_tsih_of_another_nexus);
    g_test_add_func("/iscsi/registry/evicted-is-not-joined", test_evicted_is_not_joined);
    g_test_add_func("/iscsi/registry/discovery-sessions-are-apart",
                    test_discovery_sessions_are_apart);
    g_test_add_func("/iscsi/registry/discovery-is-reinstated", test_discovery_is_reinstated);
    return g_test_run();
}
