/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "iscsi/negotiate.h"

#include <string.h>

typedef struct {
    IscsiParams local;
    Negotiation negotiation;
    TextWriter writer;
    char buffer[2048];
} Fixture;

static void
begin(Fixture *fixture, IscsiSessionType type, const IscsiParams *session)
{
    negotiate_init(&fixture->negotiation, &fixture->local, type, session);
    fixture->negotiation.use = KEY_USE_OPERATIONAL;
}

static void
set_up(Fixture *fixture, gconstpointer unused)
{
    iscsi_params_init_offer(&fixture->local);
    text_writer_init(&fixture->writer, fixture->buffer, sizeof fixture->buffer);
    begin(fixture, ISCSI_SESSION_NORMAL, NULL);
}

static NegotiateResult
receive(Fixture *fixture, const char *key, const char *value)
{
    return negotiate_receive(&fixture->negotiation, key, value, &fixture->writer);
}

/* The answer to @key so far, or NULL */
static const char *
answer(Fixture *fixture, const char *key)
{
    gsize size = strlen(key);

    for (gsize i = 0; i < fixture->writer.size; i += strlen(fixture->buffer + i) + 1) {
        if (strncmp(fixture->buffer + i, key, size) == 0 && fixture->buffer[i + size] == '=')
            return fixture->buffer + i + size + 1;
    }

    return NULL;
}

static void
expect(Fixture *fixture, const char *key, const char *offer, const char *expected)
{
    g_assert_cmpint(receive(fixture, key, offer), ==, NEGOTIATE_OK);
    g_assert_cmpstr(answer(fixture, key), ==, expected);
}

static void
end(Fixture *fixture)
{
    g_assert_cmpint(negotiate_end_request(&fixture->negotiation, &fixture->writer), ==,
                    NEGOTIATE_OK);
}

static void
test_defaults(Fixture *fixture, gconstpointer unused)
{
    IscsiParams rfc;

    iscsi_params_init_rfc(&rfc);
    g_assert_cmpmem(&fixture->negotiation.params, sizeof rfc, &rfc, sizeof rfc);
}

static void
test_minimum(Fixture *fixture, gconstpointer unused)
{
    expect(fixture, "MaxBurstLength", "16776192", "1048576");
    expect(fixture, "MaxConnections", "8", "4");
    expect(fixture, "ErrorRecoveryLevel", "2", "0");
    expect(fixture, "DefaultTime2Retain", "0", "0");
    g_assert_cmpuint(fixture->negotiation.params.max_burst_length, ==, 1048576);
    g_assert_cmpuint(fixture->negotiation.params.error_recovery_level, ==, 0);
    g_assert_cmpuint(fixture->negotiation.params.default_time2retain, ==, 0);
}

static void
test_maximum(Fixture *fixture, gconstpointer unused)
{
    expect(fixture, "DefaultTime2Wait", "0", "2");
    g_assert_cmpuint(fixture->negotiation.params.default_time2wait, ==, 2);
}

static void
test_hexadecimal(Fixture *fixture, gconstpointer unused)
{
    expect(fixture, "MaxBurstLength", "0x8000", "32768");
}

/* Every pair of values of a key, against the truth table of its rule */
static void
test_booleans(void)
{
    static const struct {
        const char *key;
        gboolean is_and;
    } keys[] = {
        { "InitialR2T", FALSE },
        { "ImmediateData", TRUE },
        { "DataPDUInOrder", FALSE },
        { "DataSequenceInOrder", FALSE },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(keys) * 4; i++) {
        gboolean ours = (i & 1) != 0, theirs = (i & 2) != 0;
        const KeyRow *row = key_find(keys[i / 4].key);
        gboolean expected = keys[i / 4].is_and ? ours && theirs : ours || theirs;
        Fixture fixture;

        set_up(&fixture, NULL);
        key_value_set(row, &fixture.local, (guint32)ours);
        expect(&fixture, row->name, theirs ? "Yes" : "No", expected ? "Yes" : "No");
        g_assert_cmpuint(key_value_get(row, &fixture.negotiation.params), ==, expected);
    }
}

static void
test_digest_as_initiator_prefers(void)
{
    static const struct {
        guint32 mask;
        const char *offer;
        const char *answer;
        guint32 digest;
    } cases[] = {
        { ISCSI_DIGEST_MASK_ANY, "CRC32C,None", "CRC32C", ISCSI_DIGEST_CRC32C },
        { ISCSI_DIGEST_MASK_ANY, "None,CRC32C", "None", ISCSI_DIGEST_NONE },
        { ISCSI_DIGEST_MASK_ANY, "X-md,CRC32C", "CRC32C", ISCSI_DIGEST_CRC32C },
        { ISCSI_DIGEST_MASK_NONE, "CRC32C,None", "None", ISCSI_DIGEST_NONE },
        { ISCSI_DIGEST_MASK_CRC32C, "None,CRC32C", "CRC32C", ISCSI_DIGEST_CRC32C },
        { ISCSI_DIGEST_MASK_NONE, "CRC32C", "Reject", ISCSI_DIGEST_NONE },
        { ISCSI_DIGEST_MASK_ANY, "X-md", "Reject", ISCSI_DIGEST_NONE },
        { ISCSI_DIGEST_MASK_ANY, "", "Reject", ISCSI_DIGEST_NONE },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        Fixture fixture;

        set_up(&fixture, NULL);
        fixture.local.header_digest = cases[i].mask;
        expect(&fixture, "HeaderDigest", cases[i].offer, cases[i].answer);
        g_assert_cmpuint(fixture.negotiation.params.header_digest, ==, cases[i].digest);
        g_assert_cmpuint(fixture.negotiation.params.data_digest, ==, ISCSI_DIGEST_NONE);
    }
}

static void
test_required_digest(Fixture *fixture, gconstpointer unused)
{
    fixture->local.data_digest = ISCSI_DIGEST_MASK_CRC32C;
    g_assert_cmpint(negotiate_check(&fixture->negotiation), ==, NEGOTIATE_NO_COMMON);
    expect(fixture, "DataDigest", "None,CRC32C", "CRC32C");
    g_assert_cmpint(negotiate_check(&fixture->negotiation), ==, NEGOTIATE_OK);
}

static void
test_task_reporting(Fixture *fixture, gconstpointer unused)
{
    expect(fixture, "TaskReporting", "FastAbort,ResponseFence,RFC3720", "FastAbort");
    g_assert_cmpuint(fixture->negotiation.params.task_reporting, ==,
                     ISCSI_TASK_REPORTING_FAST_ABORT);
}

static void
test_segment_lengths(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(receive(fixture, "MaxRecvDataSegmentLength", "65536"), ==, NEGOTIATE_OK);
    g_assert_null(answer(fixture, "MaxRecvDataSegmentLength")); /* a declaration */
    end(fixture);
    g_assert_cmpstr(answer(fixture, "MaxRecvDataSegmentLength"), ==, "1048576");
    g_assert_cmpuint(fixture->negotiation.params.max_xmit_data_segment_length, ==, 65536);
    g_assert_cmpuint(fixture->negotiation.params.max_recv_data_segment_length, ==, 1048576);
}

static void
test_declares_once(Fixture *fixture, gconstpointer unused)
{
    gsize size;

    end(fixture);
    size = fixture->writer.size;
    g_assert_cmpuint(size, !=, 0);
    end(fixture);
    g_assert_cmpuint(fixture->writer.size, ==, size);
}

static void
test_declares_in_operational_stage(Fixture *fixture, gconstpointer unused)
{
    fixture->negotiation.use = KEY_USE_SECURITY;
    end(fixture);
    g_assert_cmpuint(fixture->writer.size, ==, 0);
    g_assert_cmpuint(fixture->negotiation.params.max_recv_data_segment_length, ==, 8192);
}

/* MaxBurstLength comes after FirstBurstLength and still bounds it */
static void
test_first_burst_below_max_burst(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(receive(fixture, "FirstBurstLength", "262144"), ==, NEGOTIATE_OK);
    expect(fixture, "MaxBurstLength", "16384", "16384");
    end(fixture);
    g_assert_cmpstr(answer(fixture, "FirstBurstLength"), ==, "16384");
    g_assert_cmpuint(fixture->negotiation.params.first_burst_length, ==, 16384);
}

static void
test_first_burst_below_ours(Fixture *fixture, gconstpointer unused)
{
    fixture->local.first_burst_length = 8192;
    g_assert_cmpint(receive(fixture, "FirstBurstLength", "65536"), ==, NEGOTIATE_OK);
    end(fixture);
    g_assert_cmpstr(answer(fixture, "FirstBurstLength"), ==, "8192");
    g_assert_cmpuint(fixture->negotiation.params.first_burst_length, ==, 8192);
}

static void
test_first_burst_not_offered(Fixture *fixture, gconstpointer unused)
{
    expect(fixture, "MaxBurstLength", "4096", "4096");
    end(fixture);
    g_assert_null(answer(fixture, "FirstBurstLength"));
    g_assert_cmpuint(fixture->negotiation.params.first_burst_length, ==, 4096);
}

static void
test_first_burst_irrelevant(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(receive(fixture, "FirstBurstLength", "262144"), ==, NEGOTIATE_OK);
    expect(fixture, "InitialR2T", "Yes", "Yes");
    expect(fixture, "ImmediateData", "No", "No");
    end(fixture);
    g_assert_cmpstr(answer(fixture, "FirstBurstLength"), ==, "Irrelevant");
}

static void
test_outstanding_r2t(void)
{
    static const struct {
        const char *level; /* ErrorRecoveryLevel, NULL: not offered */
        const char *offer;
        const char *answer;
        guint32 result;
    } cases[] = {
        { NULL, "1", "1", 1 }, { NULL, "4", "4", 4 },     { NULL, "65535", "16", 16 },
        { "0", "4", "4", 4 },  { "1", "4", "1", 1 },      { "2", "65535", "1", 1 },
        { "2", "1", "1", 1 },  { "2", "0", "Reject", 1 }, { "1", NULL, NULL, 1 },
        { "3", "4", "4", 4 },
    };

    /* RFC 7143 13.19: with recovery, sequences that are in order are asked for one by one */
    for (gsize i = 0; i < G_N_ELEMENTS(cases) * 2; i++) {
        const char *level = cases[i / 2].level, *offer = cases[i / 2].offer;
        gboolean comes_first = i % 2 != 0;
        Fixture fixture;

        set_up(&fixture, NULL);
        fixture.local.error_recovery_level = 2;
        if (level != NULL && comes_first)
            (void)receive(&fixture, "ErrorRecoveryLevel", level);
        if (offer != NULL)
            g_assert_cmpint(receive(&fixture, "MaxOutstandingR2T", offer), ==, NEGOTIATE_OK);
        if (level != NULL && !comes_first)
            (void)receive(&fixture, "ErrorRecoveryLevel", level);
        end(&fixture);
        g_assert_cmpstr(answer(&fixture, "MaxOutstandingR2T"), ==, cases[i / 2].answer);
        g_assert_cmpuint(fixture.negotiation.params.max_outstanding_r2t, ==, cases[i / 2].result);
    }
}

/* What was agreed on already cannot be taken back, and need not be used */
static void
test_outstanding_r2t_before_recovery(Fixture *fixture, gconstpointer unused)
{
    fixture->local.error_recovery_level = 1;
    g_assert_cmpint(receive(fixture, "MaxOutstandingR2T", "4"), ==, NEGOTIATE_OK);
    end(fixture);
    g_assert_cmpstr(answer(fixture, "MaxOutstandingR2T"), ==, "4");
    g_assert_cmpuint(fixture->negotiation.params.max_outstanding_r2t, ==, 4);
    expect(fixture, "ErrorRecoveryLevel", "2", "1");
    end(fixture);
    g_assert_cmpuint(fixture->negotiation.params.max_outstanding_r2t, ==, 1);
}

static void
test_unknown(Fixture *fixture, gconstpointer unused)
{
    expect(fixture, "X-org.example.thing", "1", "NotUnderstood");
    expect(fixture, "X#Later", "1", "NotUnderstood");
}

/* Two sides that both answer the other's answer would never end */
static void
test_answers_are_not_answered(Fixture *fixture, gconstpointer unused)
{
    static const char *const answers[] = { "NotUnderstood", "Irrelevant", "Reject" };

    for (gsize i = 0; i < G_N_ELEMENTS(answers); i++) {
        g_assert_cmpint(receive(fixture, "X-y", answers[i]), ==, NEGOTIATE_OK);
        g_assert_cmpint(receive(fixture, "MaxBurstLength", answers[i]), ==, NEGOTIATE_OK);
    }
    g_assert_cmpuint(fixture->writer.size, ==, 0);
}

static void
test_repeated(Fixture *fixture, gconstpointer unused)
{
    expect(fixture, "MaxBurstLength", "4096", "4096");
    end(fixture);
    g_assert_cmpint(receive(fixture, "MaxBurstLength", "4096"), ==, NEGOTIATE_REPEATED);
}

static void
test_only_targets_send(Fixture *fixture, gconstpointer unused)
{
    g_assert_cmpint(receive(fixture, "TargetPortalGroupTag", "1"), ==, NEGOTIATE_FORBIDDEN);
    g_assert_cmpint(receive(fixture, "TargetAlias", "a"), ==, NEGOTIATE_FORBIDDEN);
    g_assert_cmpint(receive(fixture, "TargetAddress", "a"), ==, NEGOTIATE_FORBIDDEN);
}

static void
test_out_of_range(void)
{
    static const struct {
        const char *key;
        const char *value;
    } cases[] = {
        { "MaxBurstLength", "511" },    { "MaxBurstLength", "16777216" },
        { "MaxBurstLength", "many" },   { "FirstBurstLength", "0" },
        { "MaxConnections", "0" },      { "MaxConnections", "65536" },
        { "MaxOutstandingR2T", "0" },   { "DefaultTime2Wait", "3601" },
        { "ErrorRecoveryLevel", "3" },  { "InitialR2T", "yes" },
        { "ImmediateData", "" },        { "MaxRecvDataSegmentLength", "1" },
        { "iSCSIProtocolLevel", "32" },
    };
    IscsiParams rfc;

    iscsi_params_init_rfc(&rfc);
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        Fixture fixture;

        set_up(&fixture, NULL);
        expect(&fixture, cases[i].key, cases[i].value, "Reject");
        g_assert_cmpmem(&fixture.negotiation.params, sizeof rfc, &rfc, sizeof rfc);
    }
}

static void
test_obsolete(Fixture *fixture, gconstpointer unused)
{
    expect(fixture, "IFMarker", "No", "No");
    expect(fixture, "OFMarker", "Yes", "No");
    expect(fixture, "IFMarkInt", "2048~8192", "Reject");
    expect(fixture, "OFMarkInt", "2048", "Reject");
}

static void
test_discovery(Fixture *fixture, gconstpointer unused)
{
    begin(fixture, ISCSI_SESSION_DISCOVERY, NULL);
    expect(fixture, "InitialR2T", "Yes", "Irrelevant");
    expect(fixture, "ImmediateData", "Yes", "Irrelevant");
    expect(fixture, "MaxBurstLength", "262144", "Irrelevant");
    expect(fixture, "FirstBurstLength", "65536", "Irrelevant");
    expect(fixture, "MaxOutstandingR2T", "1", "Irrelevant");
    expect(fixture, "MaxConnections", "1", "Irrelevant");
    expect(fixture, "DataPDUInOrder", "Yes", "Irrelevant");
    expect(fixture, "DataSequenceInOrder", "Yes", "Irrelevant");
    expect(fixture, "TaskReporting", "RFC3720", "Irrelevant");
    expect(fixture, "HeaderDigest", "None", "None");
    expect(fixture, "DefaultTime2Wait", "2", "2");
    expect(fixture, "DefaultTime2Retain", "0", "0");
    expect(fixture, "ErrorRecoveryLevel", "0", "0");
}

/* A second connection takes the session's values and may not change them */
static void
test_joining(Fixture *fixture, gconstpointer unused)
{
    IscsiParams session;

    iscsi_params_init_rfc(&session);
    session.max_burst_length = 4096;
    session.header_digest = ISCSI_DIGEST_CRC32C;
    session.max_xmit_data_segment_length = 512;
    session.max_recv_data_segment_length = 512;
    begin(fixture, ISCSI_SESSION_NORMAL, &session);
    expect(fixture, "MaxBurstLength", "65536", "Reject");
    expect(fixture, "DataDigest", "CRC32C", "CRC32C");
    g_assert_cmpuint(fixture->negotiation.params.max_burst_length, ==, 4096);
    g_assert_cmpuint(fixture->negotiation.params.header_digest, ==, ISCSI_DIGEST_NONE);
    g_assert_cmpuint(fixture->negotiation.params.max_xmit_data_segment_length, ==, 8192);
    g_assert_cmpuint(fixture->negotiation.params.max_recv_data_segment_length, ==, 8192);
}

static void
test_security_stage(Fixture *fixture, gconstpointer unused)
{
    fixture->negotiation.use = KEY_USE_SECURITY;
    expect(fixture, "HeaderDigest", "None", "Reject");
}

static void
test_full_feature(Fixture *fixture, gconstpointer unused)
{
    IscsiParams current = fixture->negotiation.params;

    negotiate_init_full_feature(&fixture->negotiation, &fixture->local, ISCSI_SESSION_NORMAL,
                                &current);
    expect(fixture, "MaxBurstLength", "4096", "Reject");
    expect(fixture, "HeaderDigest", "CRC32C", "Reject");
    g_assert_cmpint(receive(fixture, "MaxRecvDataSegmentLength", "4096"), ==, NEGOTIATE_OK);
    end(fixture);
    g_assert_cmpuint(fixture->negotiation.params.max_xmit_data_segment_length, ==, 4096);
}

/* Begin in the full feature phase, with what holds of ours */
static void
begin_full_feature(Fixture *fixture, guint32 declared)
{
    IscsiParams current = fixture->negotiation.params;

    current.max_recv_data_segment_length = declared;
    negotiate_init_full_feature(&fixture->negotiation, &fixture->local, ISCSI_SESSION_NORMAL,
                                &current);
}

/* Ours once, in the answer to theirs, and only if it has changed */
static void
test_full_feature_declares(Fixture *fixture, gconstpointer unused)
{
    begin_full_feature(fixture, 4096);
    end(fixture);
    g_assert_null(answer(fixture, "MaxRecvDataSegmentLength"));
    g_assert_cmpint(receive(fixture, "MaxRecvDataSegmentLength", "4096"), ==, NEGOTIATE_OK);
    end(fixture);
    g_assert_cmpstr(answer(fixture, "MaxRecvDataSegmentLength"), ==, "1048576");
    g_assert_cmpuint(fixture->negotiation.params.max_recv_data_segment_length, ==, 1048576);

    text_writer_clear(&fixture->writer);
    end(fixture);
    g_assert_true(text_writer_is_empty(&fixture->writer));

    begin_full_feature(fixture, 1048576);
    g_assert_cmpint(receive(fixture, "MaxRecvDataSegmentLength", "4096"), ==, NEGOTIATE_OK);
    end(fixture);
    g_assert_true(text_writer_is_empty(&fixture->writer));
}

static void
test_full_feature_asked(Fixture *fixture, gconstpointer unused)
{
    begin_full_feature(fixture, 4096);
    fixture->negotiation.is_asked = TRUE;
    end(fixture);
    g_assert_cmpstr(answer(fixture, "MaxRecvDataSegmentLength"), ==, "1048576");

    text_writer_clear(&fixture->writer);
    begin_full_feature(fixture, 1048576);
    fixture->negotiation.is_asked = TRUE;
    end(fixture);
    g_assert_true(text_writer_is_empty(&fixture->writer));
}

/* RFC 7143 appendix C: in the answer to SendTargets no other keys are expected */
static void
test_full_feature_asked_for_targets(Fixture *fixture, gconstpointer unused)
{
    begin_full_feature(fixture, 4096);
    fixture->negotiation.is_asked = TRUE;
    fixture->negotiation.received |= (guint64)1 << KEY_SEND_TARGETS;
    end(fixture);
    g_assert_true(text_writer_is_empty(&fixture->writer));
    g_assert_cmpuint(fixture->negotiation.params.max_recv_data_segment_length, ==, 4096);
}

static void
test_answers_too_long(Fixture *fixture, gconstpointer unused)
{
    text_writer_init(&fixture->writer, fixture->buffer, 10);
    g_assert_cmpint(receive(fixture, "MaxBurstLength", "4096"), ==, NEGOTIATE_TOO_LONG);
}

#define ADD(name, function)                                                                        \
    g_test_add("/iscsi/negotiate/" name, Fixture, NULL, set_up, function, NULL)

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    ADD("defaults", test_defaults);
    ADD("minimum", test_minimum);
    ADD("maximum", test_maximum);
    ADD("hexadecimal", test_hexadecimal);
    g_test_add_func("/iscsi/negotiate/booleans", test_booleans);
    g_test_add_func("/iscsi/negotiate/digest-as-initiator-prefers",
                    test_digest_as_initiator_prefers);
    ADD("required-digest", test_required_digest);
    ADD("task-reporting", test_task_reporting);
    ADD("segment-lengths", test_segment_lengths);
    ADD("declares-once", test_declares_once);
    ADD("declares-in-operational-stage", test_declares_in_operational_stage);
    ADD("first-burst-below-max-burst", test_first_burst_below_max_burst);
    ADD("first-burst-below-ours", test_first_burst_below_ours);
    ADD("first-burst-not-offered", test_first_burst_not_offered);
    ADD("first-burst-irrelevant", test_first_burst_irrelevant);
    g_test_add_func("/iscsi/negotiate/outstanding-r2t", test_outstanding_r2t);
    ADD("outstanding-r2t-before-recovery", test_outstanding_r2t_before_recovery);
    ADD("unknown", test_unknown);
    ADD("answers-are-not-answered", test_answers_are_not_answered);
    ADD("repeated", test_repeated);
    ADD("only-targets-send", test_only_targets_send);
    g_test_add_func("/iscsi/negotiate/out-of-range", test_out_of_range);
    ADD("obsolete", test_obsolete);
    ADD("discovery", test_discovery);
    ADD("joining", test_joining);
    ADD("security-stage", test_security_stage);
    ADD("full-feature", test_full_feature);
    ADD("full-feature-declares", test_full_feature_declares);
    ADD("full-feature-asked", test_full_feature_asked);
    ADD("full-feature-asked-for-targets", test_full_feature_asked_for_targets);
    ADD("answers-too-long", test_answers_too_long);

    return g_test_run();
}
