/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "iscsi/discovery.h"

#include <string.h>

#define DISK(n) "iqn.2026-11.org.example:disk" #n

typedef struct {
    DiscoveryConfig config;
    IscsiParams offer;
    IscsiParams params;
    DiscoveryTarget targets[200]; /* sorted by name */
    guint n_targets;
    IscsiAnnounce announces[8];
    guint8 bhs[PDU_BHS_SIZE];
    Discovery discovery;
} Fixture;

static gboolean
find(gpointer user_data, const char *name, DiscoveryTarget *ret_target)
{
    Fixture *fixture = user_data;

    for (guint i = 0; i < fixture->n_targets; i++) {
        if (strcmp(fixture->targets[i].name, name) == 0) {
            *ret_target = fixture->targets[i];
            return TRUE;
        }
    }

    return FALSE;
}

static gboolean
next(gpointer user_data, const char *after, DiscoveryTarget *ret_target)
{
    Fixture *fixture = user_data;

    for (guint i = 0; i < fixture->n_targets; i++) {
        if (strcmp(fixture->targets[i].name, after) > 0) {
            *ret_target = fixture->targets[i];
            return TRUE;
        }
    }

    return FALSE;
}

static Address
address(const char *text)
{
    Address result;

    g_assert_true(address_parse(text, ISCSI_PORT, &result, NULL));
    return result;
}

static void
set_up(Fixture *fixture, gconstpointer unused)
{
    iscsi_params_init_offer(&fixture->offer);
    iscsi_params_init_rfc(&fixture->params);
    fixture->announces[0] = (IscsiAnnounce){ .tag = 1, .address = address("192.0.2.1") };
    fixture->announces[1] = (IscsiAnnounce){ .tag = 2, .address = address("[2001:db8::1]:3261") };
    fixture->targets[0] = (DiscoveryTarget){ DISK(1), fixture->announces, 2 };
    fixture->targets[1] = (DiscoveryTarget){ DISK(2), fixture->announces, 1 };
    fixture->n_targets = 2;
    fixture->config = (DiscoveryConfig){
        .type = ISCSI_SESSION_DISCOVERY,
        .local = address("198.51.100.9:3260"),
        .find = find,
        .next = next,
        .user_data = fixture,
        .offer = &fixture->offer,
        .params = &fixture->params,
    };
    discovery_init(&fixture->discovery, &fixture->config);
    memset(fixture->bhs, 0, sizeof fixture->bhs);
    fixture->bhs[0] = PDU_TEXT_REQUEST;
    put_be32(fixture->bhs + 16, 0x77);
    put_be32(fixture->bhs + 20, PDU_TAG_RESERVED);
}

static void
set_normal(Fixture *fixture)
{
    fixture->config.type = ISCSI_SESSION_NORMAL;
    fixture->config.target_name = DISK(2);
    discovery_init(&fixture->discovery, &fixture->config);
}

static DiscoveryAction
receive(Fixture *fixture, guint8 flags, const char *text, gsize size)
{
    fixture->bhs[1] = flags;
    pdu_set_data_size(fixture->bhs, size);
    return discovery_receive(&fixture->discovery, fixture->bhs, (const guint8 *)text, size);
}

#define RECEIVE(fixture, flags, text) receive(fixture, flags, text, sizeof(text) - 1)

/* Go on with the tag of the last response */
static DiscoveryAction
go_on(Fixture *fixture, guint8 flags)
{
    put_be32(fixture->bhs + 20, pdu_ttt(fixture->discovery.response));
    return receive(fixture, flags, "", 0);
}

#define EXPECT_TEXT(fixture, text)                                                                 \
    g_assert_cmpmem((fixture)->discovery.response_data, (int)(fixture)->discovery.response_size,   \
                    text, sizeof(text) - 1)

#define DISK1_RECORD                                                                               \
    "TargetName=" DISK(1) "\0TargetAddress=192.0.2.1:3260,1\0"                                     \
                          "TargetAddress=[2001:db8::1]:3261,2\0"
#define DISK2_RECORD "TargetName=" DISK(2) "\0TargetAddress=192.0.2.1:3260,1\0"

static void
expect_done(const Fixture *fixture, DiscoveryAction action)
{
    g_assert_cmpint(action, ==, DISCOVERY_DONE);
    g_assert_cmphex(fixture->discovery.response[0], ==, 0x24);
    g_assert_cmphex(fixture->discovery.response[1], ==, PDU_FINAL);
    g_assert_cmphex(pdu_itt(fixture->discovery.response), ==, 0x77);
    g_assert_cmphex(pdu_ttt(fixture->discovery.response), ==, PDU_TAG_RESERVED);
    g_assert_cmpuint(pdu_data_size(fixture->discovery.response), ==,
                     fixture->discovery.response_size);
}

static void
expect_reject(const Fixture *fixture, DiscoveryAction action, PduRejectReason reason)
{
    g_assert_cmpint(action, ==, DISCOVERY_REJECT);
    g_assert_cmpint(fixture->discovery.reason, ==, reason);
}

static void
test_all(Fixture *fixture, gconstpointer unused)
{
    expect_done(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=All\0"));
    EXPECT_TEXT(fixture, DISK1_RECORD DISK2_RECORD);
}

static void
test_none(Fixture *fixture, gconstpointer unused)
{
    fixture->n_targets = 0;
    expect_done(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=All\0"));
    g_assert_cmpuint(fixture->discovery.response_size, ==, 0);
}

static void
test_one(Fixture *fixture, gconstpointer unused)
{
    expect_done(fixture,
                RECEIVE(fixture, PDU_FINAL, "SendTargets=IQN.2026-11.org.example:disk2\0"));
    EXPECT_TEXT(fixture, DISK2_RECORD);
}

static void
test_unknown_name(Fixture *fixture, gconstpointer unused)
{
    expect_done(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=" DISK(9) "\0"));
    g_assert_cmpuint(fixture->discovery.response_size, ==, 0);
}

static void
test_not_a_name(Fixture *fixture, gconstpointer unused)
{
    expect_done(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=\0"));
    EXPECT_TEXT(fixture, "SendTargets=Reject\0");
    expect_done(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=everything\0"));
    EXPECT_TEXT(fixture, "SendTargets=Reject\0");
}

/* A normal session is told of its own target and of nothing else */
static void
test_normal_session(Fixture *fixture, gconstpointer unused)
{
    set_normal(fixture);
    expect_done(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=\0"));
    EXPECT_TEXT(fixture, DISK2_RECORD);
    expect_done(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=All\0"));
    EXPECT_TEXT(fixture, "SendTargets=Reject\0");
    expect_done(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=" DISK(2) "\0"));
    EXPECT_TEXT(fixture, DISK2_RECORD);
    expect_done(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=" DISK(1) "\0"));
    g_assert_cmpuint(fixture->discovery.response_size, ==, 0);
}

static void
test_wildcard(Fixture *fixture, gconstpointer unused)
{
    fixture->announces[0].address = address("0.0.0.0:3270");
    fixture->n_targets = 1;
    fixture->targets[0].n_announces = 1;
    expect_done(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=All\0"));
    EXPECT_TEXT(fixture, "TargetName=" DISK(1) "\0TargetAddress=198.51.100.9:3270,1\0");
}

/* A zone is a name of the machine that has it */
static void
test_link_local(Fixture *fixture, gconstpointer unused)
{
    fixture->announces[0].address = address("fe80::1%lo");
    fixture->config.local = address("fe80::1%lo");
    discovery_init(&fixture->discovery, &fixture->config);

    expect_done(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=" DISK(2) "\0"));
    EXPECT_TEXT(fixture, "TargetName=" DISK(2) "\0TargetAddress=[fe80::1]:3260,1\0");
}

static void
test_link_local_of_wildcard(Fixture *fixture, gconstpointer unused)
{
    fixture->announces[0].address = address("*");
    fixture->config.local = address("fe80::2%lo");
    discovery_init(&fixture->discovery, &fixture->config);

    expect_done(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=" DISK(2) "\0"));
    EXPECT_TEXT(fixture, "TargetName=" DISK(2) "\0TargetAddress=[fe80::2]:3260,1\0");
}

/* It would lead nowhere, or to another machine */
static void
test_link_local_elsewhere(Fixture *fixture, gconstpointer unused)
{
    fixture->announces[0].address = address("fe80::1%lo");
    fixture->announces[1].tag = 1;
    fixture->targets[1].n_announces = 2;

    expect_done(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=" DISK(2) "\0"));
    EXPECT_TEXT(fixture, "TargetName=" DISK(2) "\0TargetAddress=[2001:db8::1]:3261,1\0");
}

/* The same address on another link is another one */
static void
test_link_local_of_another_link(Fixture *fixture, gconstpointer unused)
{
    fixture->announces[0].address = address("fe80::1%7001");
    fixture->config.local = address("fe80::1%7002");
    discovery_init(&fixture->discovery, &fixture->config);

    expect_done(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=" DISK(2) "\0"));
    EXPECT_TEXT(fixture, "TargetName=" DISK(2) "\0");
}

/* The tag is part of the address: RFC 7143 appendix C */
static void
test_address_in_two_groups(Fixture *fixture, gconstpointer unused)
{
    fixture->announces[1].address = fixture->announces[0].address;
    fixture->n_targets = 1;
    expect_done(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=All\0"));
    EXPECT_TEXT(fixture, "TargetName=" DISK(1) "\0TargetAddress=192.0.2.1:3260,1\0"
                                               "TargetAddress=192.0.2.1:3260,2\0");
}

static void
test_wildcard_of_the_other_family(Fixture *fixture, gconstpointer unused)
{
    fixture->config.local = address("[2001:db8::9]:3260");
    discovery_init(&fixture->discovery, &fixture->config);
    fixture->announces[0].address = address("0.0.0.0");
    fixture->n_targets = 1;
    expect_done(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=All\0"));
    EXPECT_TEXT(fixture, "TargetName=" DISK(1) "\0TargetAddress=[2001:db8::1]:3261,2\0");
}

static void
test_address_twice(Fixture *fixture, gconstpointer unused)
{
    fixture->announces[0].address = address("198.51.100.9");
    fixture->announces[1] = (IscsiAnnounce){ .tag = 1, .address = address("*") };
    fixture->n_targets = 1;
    expect_done(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=All\0"));
    EXPECT_TEXT(fixture, "TargetName=" DISK(1) "\0TargetAddress=198.51.100.9:3260,1\0");
}

static void
add_targets(Fixture *fixture, guint n)
{
    for (guint i = 0; i < n; i++) {
        fixture->targets[i] = (DiscoveryTarget){ g_strdup_printf("iqn.2026-11.org.example:%03u", i),
                                                 fixture->announces, 2 };
    }
    fixture->n_targets = n;
}

static void
free_targets(Fixture *fixture, guint n)
{
    for (guint i = 0; i < n; i++)
        g_free((gpointer)(gsize)fixture->targets[i].name);
}

/* The whole answer, and the number of responses it took */
static GString *
collect(Fixture *fixture, DiscoveryAction action, guint *ret_n)
{
    GString *text = g_string_new(NULL);

    for (*ret_n = 1;; ++*ret_n) {
        g_string_append_len(text, (const char *)fixture->discovery.response_data,
                            (gssize)fixture->discovery.response_size);
        if (action == DISCOVERY_DONE)
            break;
        g_assert_cmpint(action, ==, DISCOVERY_SEND);
        g_assert_cmphex(fixture->discovery.response[1], ==, PDU_CONTINUE);
        g_assert_cmpuint(fixture->discovery.response_size, <=,
                         fixture->params.max_xmit_data_segment_length);
        action = go_on(fixture, PDU_FINAL);
    }

    return text;
}

/* More targets than the writer takes, to an initiator that takes little at a time */
static void
test_long_list(Fixture *fixture, gconstpointer unused)
{
    GString *expected = g_string_new(NULL), *text;
    guint n;

    add_targets(fixture, 200);
    for (guint i = 0; i < 200; i++) {
        g_string_append_printf(expected, "TargetName=%s%c", fixture->targets[i].name, 0);
        g_string_append_printf(expected, "TargetAddress=192.0.2.1:3260,1%c", 0);
        g_string_append_printf(expected, "TargetAddress=[2001:db8::1]:3261,2%c", 0);
    }
    g_assert_cmpuint(expected->len, >, DISCOVERY_ANSWER_MAX);
    fixture->params.max_xmit_data_segment_length = 1000;

    text = collect(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=All\0"), &n);
    g_assert_cmpmem(text->str, (int)text->len, expected->str, (int)expected->len);
    g_assert_cmpuint(n, >=, expected->len / 1000);

    g_string_free(text, TRUE);
    g_string_free(expected, TRUE);
    free_targets(fixture, 200);
}

/* Targets that go while the list is sent are left out; those behind them are not */
static void
test_list_shrinks(Fixture *fixture, gconstpointer unused)
{
    GString *text;
    DiscoveryAction action;
    guint n;

    add_targets(fixture, 200);
    action = RECEIVE(fixture, PDU_FINAL, "SendTargets=All\0");
    g_assert_cmpint(action, ==, DISCOVERY_SEND);
    free_targets(fixture, 199);
    fixture->targets[0] = fixture->targets[199];
    fixture->n_targets = 1;

    text = collect(fixture, go_on(fixture, PDU_FINAL), &n);
    g_assert_nonnull(
        g_strstr_len(text->str, (gssize)text->len, "TargetName=iqn.2026-11.org.example:199"));
    g_assert_null(g_strstr_len(text->str, (gssize)text->len, "example:150"));

    g_string_free(text, TRUE);
    g_free((gpointer)(gsize)fixture->targets[0].name);
}

/* It goes in the middle of its record: what follows is not told as its addresses */
static void
test_list_shrinks_inside_a_record(Fixture *fixture, gconstpointer unused)
{
    GString *text;
    DiscoveryAction action;
    guint n, gone;

    for (guint i = 2; i < G_N_ELEMENTS(fixture->announces); i++) {
        fixture->announces[i] = fixture->announces[1];
        fixture->announces[i].tag = (guint16)(i + 1);
    }
    add_targets(fixture, 200);
    for (guint i = 0; i < 200; i++)
        fixture->targets[i].n_announces = 7;
    action = RECEIVE(fixture, PDU_FINAL, "SendTargets=All\0");
    g_assert_cmpint(action, ==, DISCOVERY_SEND);
    g_assert_true(fixture->discovery.is_inside);
    gone = (guint)g_ascii_strtoull(strrchr(fixture->discovery.cursor, ':') + 1, NULL, 10);
    g_assert_cmpuint(gone, <, 199);
    while (!text_writer_is_empty(&fixture->discovery.writer))
        action = go_on(fixture, PDU_FINAL);
    free_targets(fixture, 199);
    fixture->targets[0] = fixture->targets[199];
    fixture->n_targets = 1;

    text = collect(fixture, go_on(fixture, PDU_FINAL), &n);
    g_assert_true(g_str_has_prefix(text->str, "TargetName=iqn.2026-11.org.example:199"));
    g_assert_cmpint(action, ==, DISCOVERY_SEND);

    g_string_free(text, TRUE);
    g_free((gpointer)(gsize)fixture->targets[0].name);
}

static void
test_text_across_requests(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(RECEIVE(fixture, PDU_CONTINUE, "SendTar"), ==, DISCOVERY_SEND);
    g_assert_cmphex(fixture->discovery.response[1], ==, 0);
    g_assert_cmphex(pdu_ttt(fixture->discovery.response), !=, PDU_TAG_RESERVED);
    put_be32(fixture->bhs + 20, pdu_ttt(fixture->discovery.response));
    expect_done(fixture, RECEIVE(fixture, PDU_FINAL, "gets=All\0"));
    EXPECT_TEXT(fixture, DISK1_RECORD DISK2_RECORD);
}

/* The initiator has more to say: it is answered, and the exchange stays open */
static void
test_not_final(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(RECEIVE(fixture, 0, "SendTargets=" DISK(2) "\0"), ==, DISCOVERY_SEND);
    g_assert_cmphex(fixture->discovery.response[1], ==, 0);
    EXPECT_TEXT(fixture, DISK2_RECORD);
    expect_done(fixture, go_on(fixture, PDU_FINAL));
    g_assert_cmpuint(fixture->discovery.response_size, ==, 0);
}

static void
test_unknown_tag(Fixture *fixture, gconstpointer unused)
{
    put_be32(fixture->bhs + 20, 1);
    expect_reject(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=All\0"),
                  PDU_REJECT_INVALID_FIELD);
}

static void
test_wrong_tag(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(RECEIVE(fixture, 0, "SendTargets=All\0"), ==, DISCOVERY_SEND);
    put_be32(fixture->bhs + 20, pdu_ttt(fixture->discovery.response) + 1);
    expect_reject(fixture, receive(fixture, PDU_FINAL, "", 0), PDU_REJECT_INVALID_FIELD);
}

static void
test_other_task(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(RECEIVE(fixture, 0, "SendTargets=All\0"), ==, DISCOVERY_SEND);
    put_be32(fixture->bhs + 16, 0x78);
    expect_reject(fixture, go_on(fixture, PDU_FINAL), PDU_REJECT_INVALID_FIELD);
}

static void
test_new_exchange_ends_the_old(Fixture *fixture, gconstpointer unused)
{
    fixture->params.max_xmit_data_segment_length = 512;
    add_targets(fixture, 20);
    g_assert_cmpint(RECEIVE(fixture, PDU_FINAL, "SendTargets=All\0"), ==, DISCOVERY_SEND);
    expect_done(fixture, RECEIVE(fixture, PDU_FINAL, "X-a=b\0"));
    EXPECT_TEXT(fixture, "X-a=NotUnderstood\0");
    free_targets(fixture, 20);
}

static void
test_text_during_answer(Fixture *fixture, gconstpointer unused)
{
    fixture->params.max_xmit_data_segment_length = 512;
    add_targets(fixture, 20);
    g_assert_cmpint(RECEIVE(fixture, PDU_FINAL, "SendTargets=All\0"), ==, DISCOVERY_SEND);
    put_be32(fixture->bhs + 20, pdu_ttt(fixture->discovery.response));
    expect_reject(fixture, RECEIVE(fixture, PDU_FINAL, "X-a=b\0"), PDU_REJECT_PROTOCOL_ERROR);
    free_targets(fixture, 20);
}

static void
test_twice(Fixture *fixture, gconstpointer unused)
{
    expect_reject(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets=All\0SendTargets=All\0"),
                  PDU_REJECT_PROTOCOL_ERROR);
}

static void
test_malformed(Fixture *fixture, gconstpointer unused)
{
    expect_reject(fixture, RECEIVE(fixture, PDU_FINAL, "SendTargets\0"), PDU_REJECT_PROTOCOL_ERROR);
}

static void
test_text_is_bounded(Fixture *fixture, gconstpointer unused)
{
    static const char text[8192];
    DiscoveryAction action = DISCOVERY_SEND;
    guint n = 0;

    for (; action == DISCOVERY_SEND && n < 10; n++) {
        action = receive(fixture, PDU_CONTINUE, text, sizeof text);
        put_be32(fixture->bhs + 20, pdu_ttt(fixture->discovery.response));
    }
    expect_reject(fixture, action, PDU_REJECT_PROTOCOL_ERROR);
    g_assert_cmpuint(n, ==, TEXT_TOTAL_MAX / sizeof text + 1);
}

static void
test_requests_are_bounded(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(RECEIVE(fixture, 0, ""), ==, DISCOVERY_SEND);
    for (guint i = 1; i < DISCOVERY_PDUS_MAX; i++)
        g_assert_cmpint(go_on(fixture, 0), ==, DISCOVERY_SEND);
    expect_reject(fixture, go_on(fixture, 0), PDU_REJECT_PROTOCOL_ERROR);
}

static void
test_renegotiation(Fixture *fixture, gconstpointer unused)
{
    set_normal(fixture);
    g_assert_cmpint(RECEIVE(fixture, 0, "MaxRecvDataSegmentLength=4096\0"), ==, DISCOVERY_SEND);
    g_assert_cmpuint(fixture->params.max_xmit_data_segment_length, ==, 8192); /* not yet */
    expect_done(fixture, go_on(fixture, PDU_FINAL));
    g_assert_cmpuint(fixture->params.max_xmit_data_segment_length, ==, 4096);
}

static void
test_keys_of_login(Fixture *fixture, gconstpointer unused)
{
    set_normal(fixture);
    expect_done(fixture, RECEIVE(fixture, PDU_FINAL,
                                 "MaxBurstLength=4096\0InitiatorName=iqn.x\0AuthMethod=None\0"));
    EXPECT_TEXT(fixture, "MaxBurstLength=Reject\0InitiatorName=Reject\0AuthMethod=Reject\0");
    g_assert_cmpuint(fixture->params.max_burst_length, ==, 262144);
}

#define ADD(name, function)                                                                        \
    g_test_add("/iscsi/discovery/" name, Fixture, NULL, set_up, function, NULL)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    ADD("all", test_all);
    ADD("none", test_none);
    ADD("one", test_one);
    ADD("unknown-name", test_unknown_name);
    ADD("not-a-name", test_not_a_name);
    ADD("normal-session", test_normal_session);
    ADD("wildcard", test_wildcard);
    ADD("wildcard-of-the-other-family", test_wildcard_of_the_other_family);
    ADD("link-local", test_link_local);
    ADD("link-local-of-wildcard", test_link_local_of_wildcard);
    ADD("link-local-elsewhere", test_link_local_elsewhere);
    ADD("link-local-of-another-link", test_link_local_of_another_link);
    ADD("address-twice", test_address_twice);
    ADD("long-list", test_long_list);
    ADD("list-shrinks", test_list_shrinks);
    ADD("list-shrinks-inside-a-record", test_list_shrinks_inside_a_record);
    ADD("text-across-requests", test_text_across_requests);
    ADD("not-final", test_not_final);
    ADD("unknown-tag", test_unknown_tag);
    ADD("wrong-tag", test_wrong_tag);
    ADD("other-task", test_other_task);
    ADD("address-in-two-groups", test_address_in_two_groups);
    ADD("new-exchange-ends-the-old", test_new_exchange_ends_the_old);
    ADD("text-during-answer", test_text_during_answer);
    ADD("twice", test_twice);
    ADD("malformed", test_malformed);
    ADD("text-is-bounded", test_text_is_bounded);
    ADD("requests-are-bounded", test_requests_are_bounded);
    ADD("renegotiation", test_renegotiation);
    ADD("keys-of-login", test_keys_of_login);

    return g_test_run();
}
