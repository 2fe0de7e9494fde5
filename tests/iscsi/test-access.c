/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Access rules: which one holds, what it shows, and what becomes of sessions
 * when rules change.
 */

#include "chap-peer.h"

#include <string.h>

#include "iscsi/access.h"
#include "iscsi/chap.h"

#define HOST  "iqn.2026-11.org.example:host"
#define OTHER "iqn.2026-11.org.example:other"

#define TEST_UNIT_READY ((const guint8[6]){ 0 })
#define REPORTED_LUNS   0x3f0e
#define WRITE_PROTECTED 0x2700

/* Tell which case it is and go on with the others */
#define FAIL(...) (g_test_message(__VA_ARGS__), g_test_fail())

/* Rules as text: lists are separated by spaces, "" is nothing said */
typedef struct {
    AccessAction action;
    const char *names;
    const char *networks;
    guint16 tag; /* 0: none */
} RuleText;

static gboolean
is_said(const RuleText *text)
{
    return text->names != NULL || text->networks != NULL;
}

static AccessRule
make_rule(guint32 id, const RuleText *text)
{
    AccessRule rule = { .id = id, .action = text->action };
    g_auto(GStrv) networks = g_strsplit(text->networks != NULL ? text->networks : "", " ", -1);

    rule.label = g_strdup_printf("rule %u", id);
    if (text->names != NULL && text->names[0] != '\0')
        rule.names = g_strsplit(text->names, " ", -1);
    rule.n_networks = g_strv_length(networks);
    rule.networks = g_new0(Network, rule.n_networks + 1);
    for (guint i = 0; i < rule.n_networks; i++)
        g_assert_true(network_parse(networks[i], &rule.networks[i], NULL));
    if (text->tag != 0) {
        rule.tags = g_memdup2(&text->tag, sizeof(text->tag));
        rule.n_tags = 1;
    }
    return rule;
}

/* Who asks, and which of the rules answers; they are counted from 1, and 0 is none */
typedef struct {
    RuleText rules[2]; /* without anything said: not there */
    const char *name;
    const char *address;
    guint16 tag;
    AccessResult result;
    guint32 id;
} Case;

/* clang-format off */
#define ALLOW(who)            { .names = who }
#define ALLOW_AT(who, tag_)   { .names = who, .tag = tag_ }
#define ALLOW_FROM(who, from) { .names = who, .networks = from }
#define DENY(who)             { ACCESS_DENY, who, NULL, 0 }
#define DENY_FROM(who, from)  { ACCESS_DENY, who, from, 0 }
#define ANYBODY               ""
#define PATTERN               "iqn.2026-11.org.example:h*"
#define NETWORK               "192.0.2.0/24"
#define INSIDE                "192.0.2.9"
#define OUTSIDE               "192.0.3.9"

static const Case names[] = {
    { { { 0 } },                              HOST,  OUTSIDE, 1, ACCESS_NO_RULE, 0 },
    { { ALLOW(HOST) },                        HOST,  OUTSIDE, 1, ACCESS_ALLOWED, 1 },
    { { ALLOW(HOST) },                        OTHER, OUTSIDE, 1, ACCESS_NO_RULE, 0 },
    { { ALLOW(ANYBODY) },                     OTHER, OUTSIDE, 1, ACCESS_ALLOWED, 1 },
    { { ALLOW(OTHER " " HOST) },              HOST,  OUTSIDE, 1, ACCESS_ALLOWED, 1 },
    { { ALLOW(PATTERN) },                     HOST,  OUTSIDE, 1, ACCESS_ALLOWED, 1 },
    { { ALLOW(PATTERN) },                     OTHER, OUTSIDE, 1, ACCESS_NO_RULE, 0 },
};

/* A name before a pattern, whatever their order; among the same kind the first */
static const Case order[] = {
    { { ALLOW("*"), ALLOW(HOST) },            HOST,  OUTSIDE, 1, ACCESS_ALLOWED, 2 },
    { { ALLOW("*"), ALLOW(HOST) },            OTHER, OUTSIDE, 1, ACCESS_ALLOWED, 1 },
    { { ALLOW(ANYBODY), ALLOW("* " HOST) },   HOST,  OUTSIDE, 1, ACCESS_ALLOWED, 2 },
    { { ALLOW(HOST), ALLOW(HOST) },           HOST,  OUTSIDE, 1, ACCESS_ALLOWED, 1 },
    { { ALLOW("iqn.*"), ALLOW("*:host") },    HOST,  OUTSIDE, 1, ACCESS_ALLOWED, 1 },
};

static const Case denial[] = {
    { { ALLOW(HOST), DENY("*") },             HOST,  OUTSIDE, 1, ACCESS_DENIED,  2 },
    { { DENY(ANYBODY) },                      HOST,  OUTSIDE, 1, ACCESS_DENIED,  1 },
    { { ALLOW("*"), DENY(OTHER) },            HOST,  OUTSIDE, 1, ACCESS_ALLOWED, 1 },
    { { ALLOW(HOST), DENY_FROM("*", NETWORK) }, HOST, OUTSIDE, 1, ACCESS_ALLOWED, 1 },
    { { ALLOW(HOST), DENY_FROM("*", NETWORK) }, HOST, INSIDE,  1, ACCESS_DENIED,  2 },
};

/* All that a rule says must fit */
static const Case conditions[] = {
    { { ALLOW_FROM(HOST, NETWORK) },          HOST,  INSIDE,  1, ACCESS_ALLOWED, 1 },
    { { ALLOW_FROM(HOST, NETWORK) },          HOST,  OUTSIDE, 1, ACCESS_NO_RULE, 0 },
    { { ALLOW_FROM(OTHER, NETWORK) },         HOST,  INSIDE,  1, ACCESS_NO_RULE, 0 },
    { { ALLOW_FROM(NULL, "198.51.100.0/24 " NETWORK) }, HOST, INSIDE, 1, ACCESS_ALLOWED, 1 },
    { { ALLOW_FROM(NULL, "2001:db8::/32") },  HOST,  "2001:db8::9", 1, ACCESS_ALLOWED, 1 },
    { { ALLOW_FROM(NULL, NETWORK) },          HOST,  "::ffff:" INSIDE, 1, ACCESS_ALLOWED, 1 },
    { { ALLOW_AT(HOST, 2) },                  HOST,  OUTSIDE, 1, ACCESS_NO_RULE, 0 },
    { { ALLOW_AT(HOST, 2) },                  HOST,  OUTSIDE, 2, ACCESS_ALLOWED, 1 },
    { { ALLOW_FROM(HOST, NETWORK), ALLOW("*") }, HOST, OUTSIDE, 1, ACCESS_ALLOWED, 2 },
};
/* clang-format on */

static const struct {
    const char *path;
    const Case *cases;
    gsize n_cases;
} choices[] = {
    { "/iscsi/access/which-rule/names", names, G_N_ELEMENTS(names) },
    { "/iscsi/access/which-rule/order", order, G_N_ELEMENTS(order) },
    { "/iscsi/access/which-rule/denial-wins", denial, G_N_ELEMENTS(denial) },
    { "/iscsi/access/which-rule/all-conditions", conditions, G_N_ELEMENTS(conditions) },
};

static void
test_which_rule(gconstpointer data)
{
    gsize which = GPOINTER_TO_SIZE(data);

    for (gsize i = 0; i < choices[which].n_cases; i++) {
        const Case *asked = &choices[which].cases[i];
        AccessRule rules[G_N_ELEMENTS(asked->rules)];
        const AccessRule *rule = NULL;
        Address address;
        AccessRequest request = { asked->name, &address, asked->tag };
        AccessResult result;
        guint n = 0;

        g_assert_true(address_parse(asked->address, 0, &address, NULL));
        for (; n < G_N_ELEMENTS(rules) && is_said(&asked->rules[n]); n++)
            rules[n] = make_rule(n + 1, &asked->rules[n]);
        result = access_find(rules, n, &request, &rule);
        if (result != asked->result || (rule != NULL ? rule->id : 0) != asked->id)
            FAIL("case %zu: %u, rule %u", i, result, rule != NULL ? rule->id : 0);
        while (n > 0)
            access_rule_clear(&rules[--n]);
    }
}

static void
test_judge_authentication(void)
{
    static const struct {
        gboolean target_wants;
        AccessAuth auth;
        gboolean wants;
        const char *user; /* of whose account it is */
    } cases[] = {
        { FALSE, ACCESS_AUTH_TARGET, FALSE, NULL }, { TRUE, ACCESS_AUTH_TARGET, TRUE, "target" },
        { TRUE, ACCESS_AUTH_NONE, FALSE, NULL },    { FALSE, ACCESS_AUTH_CHAP, TRUE, "rule" },
        { TRUE, ACCESS_AUTH_CHAP, TRUE, "rule" },
    };
    static const CredentialsAccount of_target = { "target", "secret of target", NULL, NULL };
    static const CredentialsAccount of_rule = { "rule", "secret of rule", NULL, NULL };
    Address address;
    AccessRequest request = { HOST, &address, 1 };

    g_assert_true(address_parse("192.0.2.1", 0, &address, NULL));
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        IscsiTarget *target = iscsi_target_new();
        IscsiVerdict verdict;

        target->wants_chap = cases[i].target_wants;
        target->credentials = credentials_new(&of_target, 1, NULL);
        target->rules = g_new(AccessRule, 1);
        target->n_rules = 1;
        target->rules[0] = make_rule(1, &(RuleText){ .names = HOST });
        target->rules[0].auth = cases[i].auth;
        target->rules[0].credentials = credentials_new(&of_rule, 1, NULL);

        verdict = iscsi_target_judge(target, &request);
        g_assert_true(verdict.is_allowed);
        g_assert_cmpint(verdict.wants_chap, ==, cases[i].wants);
        if (cases[i].user != NULL)
            g_assert_nonnull(credentials_find(verdict.credentials, cases[i].user));
        snapshot_unref(&target->snapshot);
    }
}

static void
test_admits(void)
{
    static const CredentialsAccount account = { "anne", "secret of anne", NULL, NULL };
    Address address;
    IscsiHolder holder = { .request = { HOST, &address, 1 } };
    IscsiTarget *target = iscsi_target_new();
    IscsiVerdict verdict;

    g_assert_true(address_parse("192.0.2.1", 0, &address, NULL));
    g_assert_false(iscsi_target_admits(target, &holder, &verdict)); /* closed */
    target->access = ISCSI_ACCESS_OPEN;
    g_assert_true(iscsi_target_admits(target, &holder, &verdict));
    target->wants_chap = TRUE;
    g_assert_false(iscsi_target_admits(target, &holder, &verdict));
    g_assert_true(verdict.is_allowed); /* if it proved itself */
    holder.chap_user = "anne";
    g_assert_false(iscsi_target_admits(target, &holder, &verdict));
    target->credentials = credentials_new(&account, 1, NULL);
    g_assert_true(iscsi_target_admits(target, &holder, &verdict));
    holder.chap_user = "eve";
    g_assert_false(iscsi_target_admits(target, &holder, &verdict));
    snapshot_unref(&target->snapshot);
}

/* Maps; one unit is enough, at several numbers */

static void
expect_map(LunMap *map, const LunEntry *entries, guint n_entries)
{
    g_assert_cmpuint(map->n_entries, ==, n_entries);
    for (guint i = 0; i < n_entries; i++) {
        g_assert_cmpuint(map->entries[i].lun, ==, entries[i].lun);
        g_assert_true(map->entries[i].lu == entries[i].lu);
        g_assert_cmpint(map->entries[i].read_only, ==, entries[i].read_only);
    }
    g_assert_cmpuint(map->n_groups, ==, 1);
    g_assert_cmpuint(map->groups[0].tag, ==, 7);
    snapshot_unref(&map->snapshot);
}

static void
test_maps(void)
{
    static const AccessLun luns[] = {
        { 9, 1, FALSE }, { 3, 0, TRUE }, { 4, 5, FALSE }, { 9, 0, FALSE }, { 5, 2, FALSE },
    };
    Rig *rig = rig_new(NULL);
    LunEntry entries[] = { { 0, rig->lu, FALSE }, { 1, rig->lu, FALSE }, { 2, rig->lu, TRUE } };
    LunMap *map = lun_map_new(entries, G_N_ELEMENTS(entries));

    lun_map_set_alua(map, &(AluaGroup){ .tag = 7 }, 1, NULL);
    expect_map(access_map_new(map, NULL, 0, FALSE), entries, 3);
    expect_map(access_map_new(map, NULL, 0, TRUE),
               (LunEntry[]){ { 0, rig->lu, TRUE }, { 1, rig->lu, TRUE }, { 2, rig->lu, TRUE } }, 3);
    expect_map(access_map_new(map, luns, G_N_ELEMENTS(luns), FALSE),
               (LunEntry[]){ { 3, rig->lu, TRUE }, { 5, rig->lu, TRUE }, { 9, rig->lu, FALSE } },
               3);
    expect_map(access_map_new(map, luns, 1, TRUE), (LunEntry[]){ { 9, rig->lu, TRUE } }, 1);
    expect_map(access_map_new(map, luns, 0, FALSE), NULL, 0);
    snapshot_unref(&map->snapshot);
    rig_free(rig);
}

/* Never more than before, and not what the target has taken back since */
static void
test_map_is_kept(void)
{
    static const struct {
        gboolean had, has; /* read-only */
    } cases[] = { { FALSE, FALSE }, { TRUE, FALSE }, { FALSE, TRUE }, { TRUE, TRUE } };
    Rig *rig = rig_new(NULL);
    LunMap *none = lun_map_new(NULL, 0);

    lun_map_set_alua(none, &(AluaGroup){ .tag = 7 }, 1, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        LunMap *had = lun_map_new(&(LunEntry){ 9, rig->lu, cases[i].had }, 1);
        LunMap *map = lun_map_new(&(LunEntry){ 0, rig->lu, cases[i].has }, 1);

        lun_map_set_alua(map, &(AluaGroup){ .tag = 7 }, 1, NULL);
        expect_map(access_map_keep(had, map),
                   &(LunEntry){ 9, rig->lu, cases[i].had || cases[i].has }, 1);
        expect_map(access_map_keep(had, none), NULL, 0);
        expect_map(access_map_keep(none, map), NULL, 0);
        snapshot_unref(&had->snapshot);
        snapshot_unref(&map->snapshot);
    }
    snapshot_unref(&none->snapshot);
    rig_free(rig);
}

/* Sessions */

static IscsiTarget *
add_rule(IscsiTarget *target, const RuleText *text)
{
    target->rules = g_renew(AccessRule, target->rules, target->n_rules + 1);
    target->rules[target->n_rules] = make_rule(100 + target->n_rules, text);
    target->n_rules++;
    return target;
}

static void
let_host_in(IscsiTarget *target)
{
    target->access = ISCSI_ACCESS_CLOSED;
    add_rule(target, &(RuleText){ .names = HOST });
}

static void
deny_host(IscsiTarget *target)
{
    add_rule(target, &(RuleText){ .names = "*" });
    add_rule(target, &(RuleText){ ACCESS_DENY, HOST, NULL, 0 });
}

static void
let_host_read(IscsiTarget *target)
{
    let_host_in(target);
    target->rules[0].map = access_map_new(target->map, NULL, 0, TRUE);
    add_rule(target, &(RuleText){ .names = OTHER });
}

static void
move_unit(IscsiTarget *target)
{
    static const AccessLun lun = { 3, 0, FALSE };

    let_host_in(target);
    target->rules[0].map = access_map_new(target->map, &lun, 1, FALSE);
}

static void
let_local_in(IscsiTarget *target)
{
    target->access = ISCSI_ACCESS_CLOSED;
    add_rule(target, &(RuleText){ .networks = "192.0.2.0/24 127.0.0.0/8" });
}

static void
let_strangers_in(IscsiTarget *target)
{
    target->access = ISCSI_ACCESS_CLOSED;
    add_rule(target, &(RuleText){ .networks = "192.0.2.0/24 2001:db8::/32" });
}

static void
let_in_elsewhere(IscsiTarget *target)
{
    target->access = ISCSI_ACCESS_CLOSED;
    add_rule(target, &(RuleText){ .names = "*", .tag = RIG_TAG + 1 });
}

static void
close_softly(IscsiTarget *target)
{
    target->access = ISCSI_ACCESS_CLOSED;
}

static void
close_hard(IscsiTarget *target)
{
    target->access = ISCSI_ACCESS_CLOSED;
    target->closes_denied = TRUE;
}

static void
deny_host_hard(IscsiTarget *target)
{
    deny_host(target);
    target->closes_denied = TRUE;
}

static void
take_unit_away(IscsiTarget *target)
{
    close_softly(target);
    snapshot_unref(&target->map->snapshot);
    target->map = lun_map_new(NULL, 0);
}

/* Another rule with more to see, for those who prove themselves */
static void
let_anne_write(IscsiTarget *target)
{
    static const CredentialsAccount account = { "anne", "secret of anne", NULL, NULL };

    target->access = ISCSI_ACCESS_CLOSED;
    add_rule(target, &(RuleText){ .names = HOST });
    target->rules[0].id = 200;
    target->rules[0].auth = ACCESS_AUTH_CHAP;
    target->rules[0].credentials = credentials_new(&account, 1, NULL);
}

static Initiator *
log_in(Rig *rig, const char *name, guint16 status)
{
    Initiator *initiator = initiator_new(rig);

    initiator->name = name;
    g_assert_cmphex(initiator_login(initiator, NULL), ==, status);
    return initiator;
}

/* ASC and ASCQ of one WRITE(10) of a block, 0 when it is GOOD */
static guint
try_write(Initiator *initiator)
{
    guint8 cdb[10], block[512] = { 0 };
    Outcome outcome;

    initiator_cdb10(cdb, 0x2a, 0, 1);
    g_assert_true(
        initiator_run(initiator, cdb, sizeof(cdb), block, sizeof(block), NULL, 0, &outcome));
    return outcome.status == 0 ? 0 : get_be16(outcome.sense + 12);
}

/* The same of TEST UNIT READY at some LUN */
static guint
try_lun(Initiator *initiator, guint8 lun)
{
    guint8 bhs[PDU_BHS_SIZE];

    initiator_command(initiator, bhs, 0x80, TEST_UNIT_READY, 6, 0);
    bhs[9] = lun;
    initiator_send(initiator, bhs, NULL, 0);
    g_assert_true(initiator_receive(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_SCSI_RESPONSE);
    return initiator->bhs[3] == 0 ? 0 : get_be16(initiator->data + 2 + 12);
}

static void
test_closed_with_rule(void)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = let_host_in });
    Initiator *host = log_in(rig, HOST, 0);
    Initiator *other = log_in(rig, OTHER, 0x0202);
    const RigEvent *event;

    rig_settle(rig);
    g_assert_cmpuint(rig_last_event(rig, ISCSI_EVENT_SESSION_OPENED)->rule_id, ==, 100);
    event = rig_last_event(rig, ISCSI_EVENT_LOGIN_REFUSED);
    g_assert_cmpstr(event->initiator_name, ==, OTHER);
    g_assert_cmpuint(event->rule_id, ==, 0);
    g_assert_nonnull(strstr(event->reason, "No access rule of the target lets this initiator in"));
    initiator_free(host);
    initiator_free(other);
    rig_free(rig);
}

static void
test_denied_by_rule(void)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = deny_host });
    Initiator *host = log_in(rig, HOST, 0x0202);
    Initiator *other = log_in(rig, OTHER, 0);
    const RigEvent *event;

    rig_settle(rig);
    event = rig_last_event(rig, ISCSI_EVENT_LOGIN_REFUSED);
    g_assert_cmpuint(event->rule_id, ==, 101);
    g_assert_nonnull(strstr(event->reason, "“rule 101” denies this initiator"));
    initiator_free(host);
    initiator_free(other);
    rig_free(rig);
}

static void
test_networks(void)
{
    static const struct {
        void (*adjust)(IscsiTarget *target);
        guint16 status;
    } cases[] = { { let_local_in, 0 }, { let_strangers_in, 0x0202 }, { let_in_elsewhere, 0x0202 } };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        Rig *rig = rig_new(&(RigConfig){ .adjust = cases[i].adjust });
        Initiator *initiator = initiator_new_tcp(rig);

        g_assert_cmphex(initiator_login(initiator, NULL), ==, cases[i].status);
        initiator_free(initiator);
        rig_free(rig);
    }
}

/* WP in MODE SENSE(6), the device-specific parameter of its header */
static gboolean
is_write_protected(Initiator *initiator)
{
    static const guint8 cdb[6] = { 0x1a, 0x08, 0x3f, 0, 64, 0 };
    guint8 in[64] = { 0 };
    Outcome outcome;

    g_assert_true(initiator_run(initiator, cdb, sizeof(cdb), NULL, 0, in, sizeof(in), &outcome));
    g_assert_cmphex(outcome.status, ==, 0);
    return (in[2] & 0x80) != 0;
}

static void
test_read_only(void)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = let_host_read });
    Initiator *host = log_in(rig, HOST, 0);
    Initiator *other = log_in(rig, OTHER, 0);
    guint8 in[512];

    initiator_settle(host);
    initiator_settle(other);
    g_assert_true(is_write_protected(host));
    g_assert_false(is_write_protected(other));
    g_assert_cmphex(try_write(host), ==, WRITE_PROTECTED);
    g_assert_cmphex(try_write(other), ==, 0);
    initiator_read(host, 0, 1, in);
    initiator_free(host);
    initiator_free(other);
    rig_free(rig);
}

static void
test_own_numbers(void)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = move_unit });
    Initiator *host = log_in(rig, HOST, 0);

    g_assert_cmphex(try_lun(host, 0), ==, 0x2500);
    g_assert_cmphex(try_lun(host, 3), ==, 0x2900); /* the nexus is new */
    g_assert_cmphex(try_lun(host, 3), ==, 0);
    initiator_free(host);
    rig_free(rig);
}

/* Another rule, another map: the session goes on and is told */
static void
test_map_changes(void)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = let_host_in });
    Initiator *host = log_in(rig, HOST, 0);

    initiator_settle(host);
    rig_set_target(rig, move_unit);
    g_assert_cmphex(try_lun(host, 0), ==, 0x2500);
    g_assert_cmphex(try_lun(host, 3), ==, 0x2900);
    g_assert_cmphex(try_lun(host, 3), ==, REPORTED_LUNS);
    g_assert_cmphex(try_lun(host, 3), ==, 0);
    rig_set_target(rig, let_host_read);
    initiator_settle(host);
    g_assert_cmphex(try_write(host), ==, WRITE_PROTECTED);
    rig_set_target(rig, let_host_in);
    g_assert_cmphex(try_lun(host, 0), ==, 0x2a01); /* mode parameters changed */
    g_assert_cmphex(try_write(host), ==, 0);
    initiator_free(host);
    rig_free(rig);
}

static void
test_sessions_are_closed(void)
{
    Rig *rig = rig_new(&(RigConfig){ .n_workers = 2 });
    Initiator *host = log_in(rig, HOST, 0);
    Initiator *other = log_in(rig, OTHER, 0);

    initiator_settle(host);
    initiator_settle(other);
    rig_set_target(rig, deny_host_hard);
    g_assert_true(initiator_is_closed(host));
    g_assert_nonnull(strstr(rig_last_event(rig, ISCSI_EVENT_SESSION_CLOSED)->reason,
                            "access rules do not let it in any more"));
    g_assert_cmphex(try_write(other), ==, 0);
    rig_set_target(rig, close_hard);
    g_assert_true(initiator_is_closed(other));
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_CLOSED), ==, 2);
    initiator_free(host);
    initiator_free(other);
    rig_free(rig);
}

/* Nobody wants it closed: it keeps what it had, as long as the target has it, and hears of no more */
static void
test_session_stays(void)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = let_host_read });
    Initiator *host = log_in(rig, HOST, 0);
    guint8 in[512];

    initiator_settle(host);
    rig_set_target(rig, close_softly);
    initiator_read(host, 0, 1, in);
    g_assert_cmphex(try_write(host), ==, WRITE_PROTECTED);
    rig_set_target(rig, take_unit_away);
    g_assert_cmphex(try_lun(host, 0), ==, 0x2500);
    rig_set_target(rig, close_softly);
    g_assert_cmphex(try_lun(host, 0), ==, 0x2500); /* nothing comes back by itself */
    initiator_free(host);
    rig_free(rig);
}

/* What a new rule gives to those who prove themselves is not for who did not */
static void
test_nothing_is_gained(void)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = let_host_read });
    Initiator *host = log_in(rig, HOST, 0);

    initiator_settle(host);
    rig_set_target(rig, let_anne_write);
    g_assert_cmphex(try_write(host), ==, WRITE_PROTECTED);
    rig_set_target(rig, let_host_in);
    g_assert_cmphex(try_lun(host, 0), ==, 0x2a01);
    g_assert_cmphex(try_write(host), ==, 0);
    initiator_free(host);
    rig_free(rig);
}

/* Discovery */

/* The answer to SendTargets=All as "KEY=VALUE KEY=VALUE" */
static char *
discover(Rig *rig, const char *name)
{
    Initiator *initiator = initiator_new(rig);
    guint8 bhs[PDU_BHS_SIZE];
    char *text;

    initiator->name = name;
    g_assert_cmphex(initiator_login_discovery(initiator), ==, 0);
    initiator_header(initiator, bhs, PDU_TEXT_REQUEST, PDU_FINAL);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    initiator_send(initiator, bhs, "SendTargets=All", 16);
    g_assert_true(initiator_receive(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_TEXT_RESPONSE);
    for (gsize i = 0; i + 1 < initiator->data_size; i++) {
        if (initiator->data[i] == '\0')
            initiator->data[i] = ' ';
    }
    text = g_strndup((char *)initiator->data, initiator->data_size);
    initiator_free(initiator);
    return text;
}

static void
announce_two(IscsiTarget *target)
{
    target->tags = g_renew(guint16, target->tags, 2);
    target->tags[1] = RIG_TAG + 1;
    target->n_tags = 2;
    target->announces = g_renew(IscsiAnnounce, target->announces, 2);
    target->announces[1].tag = RIG_TAG + 1;
    g_assert_true(
        address_parse("198.51.100.1:3260", ISCSI_PORT, &target->announces[1].address, NULL));
    target->n_announces = 2;
}

static void
let_host_through_one(IscsiTarget *target)
{
    announce_two(target);
    target->access = ISCSI_ACCESS_CLOSED;
    add_rule(target, &(RuleText){ .names = HOST, .tag = RIG_TAG });
    add_rule(target, &(RuleText){ .names = OTHER });
}

static void
test_discovery(void)
{
    static const struct {
        void (*adjust)(IscsiTarget *target);
        const char *name;
        const char *answer;
    } cases[] = {
        { let_host_in, HOST, "TargetName=" RIG_TARGET " TargetAddress=192.0.2.1:3260,1" },
        { let_host_in, OTHER, "" },
        { deny_host, HOST, "" },
        { deny_host, OTHER, "TargetName=" RIG_TARGET " TargetAddress=192.0.2.1:3260,1" },
        { let_strangers_in, HOST, "" },
        { let_in_elsewhere, HOST, "" }, /* not through the portal that was asked */
        { let_host_through_one, HOST, "TargetName=" RIG_TARGET " TargetAddress=192.0.2.1:3260,1" },
        { let_host_through_one, OTHER,
          "TargetName=" RIG_TARGET
          " TargetAddress=192.0.2.1:3260,1 TargetAddress=198.51.100.1:3260,2" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        Rig *rig = rig_new(&(RigConfig){ .adjust = cases[i].adjust });
        g_autofree char *answer = discover(rig, cases[i].name);

        if (strcmp(answer, cases[i].answer) != 0)
            FAIL("case %zu: “%s”", i, answer);
        rig_free(rig);
    }
}

#define USER "anne"

static void
let_in_with(IscsiTarget *target, guint32 id, const char *secret)
{
    const CredentialsAccount account = { USER, secret, NULL, NULL };

    target->access = ISCSI_ACCESS_CLOSED;
    target->rules = g_new0(AccessRule, 1);
    target->n_rules = 1;
    target->rules[0] = make_rule(id, &(RuleText){ .names = "*" });
    target->rules[0].auth = ACCESS_AUTH_CHAP;
    target->rules[0].credentials = credentials_new(&account, 1, NULL);
}

static void
let_anne_read(IscsiTarget *target)
{
    let_in_with(target, 5, "correct horse battery");
    target->rules[0].map = access_map_new(target->map, NULL, 0, TRUE);
}

static void
let_another_anne_write(IscsiTarget *target)
{
    let_in_with(target, 6, "another one's secret");
}

static void
let_only_another_anne(IscsiTarget *target)
{
    let_another_anne_write(target);
    target->closes_denied = TRUE;
}

/* A user of the same name by another rule is another user */
static void
test_users_of_one_name(void)
{
    Rig *rig = rig_new(&(RigConfig){ .adjust = let_anne_read });
    Initiator *initiator = initiator_new(rig);
    ChapPeer peer = { .user = USER, .secret = "correct horse battery" };

    g_assert_cmphex(chap_peer_login_normal(initiator, &peer), ==, 0);
    initiator_settle(initiator);
    g_assert_cmphex(try_write(initiator), ==, WRITE_PROTECTED);
    rig_set_target(rig, let_another_anne_write);
    initiator_settle(initiator);
    g_assert_cmphex(try_write(initiator), ==, WRITE_PROTECTED);
    rig_set_target(rig, let_only_another_anne);
    rig_settle(rig);
    g_assert_true(initiator_is_closed(initiator));
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    initiator_free(initiator);
    rig_free(rig);
}

static void
deny_ip(IscsiTarget *target)
{
    target->rules = g_new0(AccessRule, 1);
    target->n_rules = 1;
    target->rules[0] =
        make_rule(7, &(RuleText){ .action = ACCESS_DENY, .networks = "127.0.0.0/8" });
    target->closes_denied = TRUE;
}

/* Each of a session's connections has to be let in still, also after the first one has gone */
static void
run_second_connection(gboolean first_has_gone)
{
    Rig *rig = rig_new(NULL);
    Initiator *first = initiator_new(rig), *second = initiator_new_tcp(rig);

    g_assert_cmphex(initiator_login(first, "MaxConnections=2"), ==, 0);
    initiator_settle(first);
    second->tsih = first->tsih;
    second->cid = 1;
    second->cmd_sn = first->cmd_sn;
    g_assert_cmphex(initiator_login(second, NULL), ==, 0);
    if (first_has_gone) {
        initiator_drop(first);
        rig_settle(rig);
    }

    rig_set_target(rig, deny_ip);
    rig_settle(rig);
    g_assert_true(initiator_is_closed(second));
    g_assert_cmpuint(rig_count_events(rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    initiator_free(first);
    initiator_free(second);
    rig_free(rig);
}

static void
test_second_connection(void)
{
    run_second_connection(FALSE);
    run_second_connection(TRUE);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (gsize i = 0; i < G_N_ELEMENTS(choices); i++)
        g_test_add_data_func(choices[i].path, GSIZE_TO_POINTER(i), test_which_rule);
    g_test_add_func("/iscsi/access/judge-authentication", test_judge_authentication);
    g_test_add_func("/iscsi/access/admits", test_admits);
    g_test_add_func("/iscsi/access/maps", test_maps);
    g_test_add_func("/iscsi/access/map-is-kept", test_map_is_kept);
    g_test_add_func("/iscsi/access/closed-with-rule", test_closed_with_rule);
    g_test_add_func("/iscsi/access/denied-by-rule", test_denied_by_rule);
    g_test_add_func("/iscsi/access/networks", test_networks);
    g_test_add_func("/iscsi/access/read-only", test_read_only);
    g_test_add_func("/iscsi/access/own-numbers", test_own_numbers);
    g_test_add_func("/iscsi/access/map-changes", test_map_changes);
    g_test_add_func("/iscsi/access/sessions-are-closed", test_sessions_are_closed);
    g_test_add_func("/iscsi/access/session-stays", test_session_stays);
    g_test_add_func("/iscsi/access/nothing-is-gained", test_nothing_is_gained);
    g_test_add_func("/iscsi/access/users-of-one-name", test_users_of_one_name);
    g_test_add_func("/iscsi/access/second-connection", test_second_connection);
    g_test_add_func("/iscsi/access/discovery", test_discovery);
    return g_test_run();
}
