/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "iscsi/keytable.h"

#include <string.h>

#include "iscsi/text.h"
#include "util/error.h"

static void
test_complete(void)
{
    for (guint i = 0; i < KEY_N; i++) {
        const KeyRow *row = key_get((KeyId)i);

        g_assert_nonnull(row->name);
        g_assert_cmpuint(strlen(row->name), <=, TEXT_KEY_MAX);
        g_assert_nonnull(row->clause);
        g_assert_nonnull(row->summary);
        g_assert_cmpuint(row->use, !=, 0);
        g_assert_cmpuint(row->senders, !=, 0);
        g_assert_true(key_find(row->name) == row);
        g_assert_cmpint(key_id(row), ==, i);
    }
}

static void
test_relations(void)
{
    for (guint i = 0; i < KEY_N; i++) {
        const KeyRow *row = key_get((KeyId)i);
        gboolean combines = row->rule != KEY_RULE_NONE && row->rule != KEY_RULE_OBSOLETE;

        if (combines && i != KEY_AUTH_METHOD)
            g_assert_cmpuint(row->offset, !=, KEY_OFFSET_NONE);
        if (row->settable)
            g_assert_cmpuint(row->offset, !=, KEY_OFFSET_NONE);
        if (row->rule == KEY_RULE_AND || row->rule == KEY_RULE_OR)
            g_assert_cmpint(row->type, ==, KEY_TYPE_BOOLEAN);
        if (row->rule == KEY_RULE_MIN || row->rule == KEY_RULE_MAX)
            g_assert_cmpint(row->type, ==, KEY_TYPE_NUMBER);
        if (row->rule == KEY_RULE_LIST)
            g_assert_nonnull(row->values[0]);
        if (row->offset != KEY_OFFSET_NONE && row->type == KEY_TYPE_NUMBER) {
            g_assert_cmpuint(row->min, <=, row->rfc_default);
            g_assert_cmpuint(row->rfc_default, <=, row->max);
            g_assert_cmpuint(row->min, <=, row->our_default);
            g_assert_cmpuint(row->our_default, <=, row->our_max);
            g_assert_cmpuint(row->our_max, <=, row->max);
        }
        if (combines && row->scope == KEY_SCOPE_SESSION && i != KEY_AUTH_METHOD)
            g_assert_cmpuint(row->use & KEY_USE_LEADING, !=, 0);
        if ((row->irrelevant & KEY_IRRELEVANT_NO_FIRST) != 0)
            g_assert_cmpuint(i, ==, KEY_FIRST_BURST_LENGTH);
    }
}

/* Each member of IscsiParams but the peer's own belongs to one key */
static void
test_offsets(void)
{
    gsize n = 0;

    for (guint i = 0; i < KEY_N; i++) {
        if (key_get((KeyId)i)->offset == KEY_OFFSET_NONE)
            continue;
        n++;
        for (guint j = 0; j < i; j++)
            g_assert_cmpuint(key_get((KeyId)j)->offset, !=, key_get((KeyId)i)->offset);
    }
    g_assert_cmpuint(n, ==, sizeof(IscsiParams) / sizeof(guint32) - 1);
}

static void
test_unknown(void)
{
    g_assert_null(key_find("X-org.example.thing"));
    g_assert_null(key_find("headerdigest"));
    g_assert_null(key_find(""));
}

static void
test_rfc_defaults(void)
{
    IscsiParams params;

    iscsi_params_init_rfc(&params);
    g_assert_cmpuint(params.header_digest, ==, ISCSI_DIGEST_NONE);
    g_assert_cmpuint(params.data_digest, ==, ISCSI_DIGEST_NONE);
    g_assert_cmpuint(params.max_recv_data_segment_length, ==, 8192);
    g_assert_cmpuint(params.max_xmit_data_segment_length, ==, 8192);
    g_assert_cmpuint(params.max_connections, ==, 1);
    g_assert_cmpuint(params.initial_r2t, ==, 1);
    g_assert_cmpuint(params.immediate_data, ==, 1);
    g_assert_cmpuint(params.max_burst_length, ==, 262144);
    g_assert_cmpuint(params.first_burst_length, ==, 65536);
    g_assert_cmpuint(params.default_time2wait, ==, 2);
    g_assert_cmpuint(params.default_time2retain, ==, 20);
    g_assert_cmpuint(params.max_outstanding_r2t, ==, 1);
    g_assert_cmpuint(params.data_pdu_in_order, ==, 1);
    g_assert_cmpuint(params.data_sequence_in_order, ==, 1);
    g_assert_cmpuint(params.error_recovery_level, ==, 0);
    g_assert_cmpuint(params.task_reporting, ==, ISCSI_TASK_REPORTING_RFC3720);
    g_assert_cmpuint(params.protocol_level, ==, 1);
}

static void
test_our_defaults(void)
{
    IscsiParams params;

    iscsi_params_init_offer(&params);
    g_assert_cmpuint(params.header_digest, ==, ISCSI_DIGEST_MASK_ANY);
    g_assert_cmpuint(params.max_recv_data_segment_length, ==, 1048576);
    g_assert_cmpuint(params.max_burst_length, ==, 1048576);
    g_assert_cmpuint(params.first_burst_length, ==, 262144);
    g_assert_cmpuint(params.initial_r2t, ==, 0);
    g_assert_cmpuint(params.immediate_data, ==, 1);
    g_assert_cmpuint(params.max_outstanding_r2t, ==, 16);
    g_assert_true(key_check_params(&params, NULL));
}

static void
test_set(void)
{
    IscsiParams params;
    g_autoptr(GError) error = NULL;

    iscsi_params_init_offer(&params);
    g_assert_true(key_set(&params, "MaxBurstLength", "524288", &error));
    g_assert_true(key_set(&params, "InitialR2T", "Yes", &error));
    g_assert_true(key_set(&params, "HeaderDigest", "CRC32C", &error));
    g_assert_true(key_set(&params, "DataDigest", "CRC32C,None", &error));
    g_assert_no_error(error);
    g_assert_cmpuint(params.max_burst_length, ==, 524288);
    g_assert_cmpuint(params.initial_r2t, ==, 1);
    g_assert_cmpuint(params.header_digest, ==, ISCSI_DIGEST_MASK_CRC32C);
    g_assert_cmpuint(params.data_digest, ==, ISCSI_DIGEST_MASK_ANY);
}

static void
test_set_refused(void)
{
    static const struct {
        const char *name;
        const char *value;
    } cases[] = {
        { "MaxBurstLength", "511" },    { "MaxBurstLength", "1048577" },
        { "MaxBurstLength", "1M" },     { "MaxBurstLength", "" },
        { "InitialR2T", "yes" },        { "HeaderDigest", "crc32c" },
        { "HeaderDigest", "" },         { "HeaderDigest", "None," },
        { "DefaultTime2Wait", "3601" }, { "MaxConnections", "9" },
        { "InitiatorName", "iqn.a" },   { "OFMarker", "No" },
        { "NoSuchParameter", "1" },
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(key_check_value(cases[i].name, cases[i].value, &error));
        g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
        g_assert_nonnull(strstr(error->message, cases[i].name));
    }
}

static void
test_first_burst_above_max_burst(void)
{
    IscsiParams params;
    g_autoptr(GError) error = NULL;

    iscsi_params_init_offer(&params);
    g_assert_true(key_set(&params, "MaxBurstLength", "65536", NULL));
    g_assert_false(key_check_params(&params, &error));
    g_assert_error(error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT);
}

/* What is shown can be set again */
static void
test_format(void)
{
    for (guint i = 0; i < KEY_N; i++) {
        const KeyRow *row = key_get((KeyId)i);
        g_autofree char *text = key_value_format(row, row->our_default);
        guint32 value;

        if (!row->settable)
            continue;
        g_assert_true(key_value_parse(row, text, &value, NULL));
        g_assert_cmpuint(value, ==, row->our_default);
    }
}

static void
test_page_is_fresh(void)
{
    g_autofree char *page = key_table_to_markdown();
    g_autofree char *file = NULL;
    g_autoptr(GError) error = NULL;

    g_assert_true(g_file_get_contents(KEYS_PAGE, &file, NULL, &error));
    g_assert_no_error(error);
    g_assert_cmpstr(file, ==, page);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/iscsi/keytable/complete", test_complete);
    g_test_add_func("/iscsi/keytable/relations", test_relations);
    g_test_add_func("/iscsi/keytable/offsets", test_offsets);
    g_test_add_func("/iscsi/keytable/unknown", test_unknown);
    g_test_add_func("/iscsi/keytable/rfc-defaults", test_rfc_defaults);
    g_test_add_func("/iscsi/keytable/our-defaults", test_our_defaults);
    g_test_add_func("/iscsi/keytable/set", test_set);
    g_test_add_func("/iscsi/keytable/set-refused", test_set_refused);
    g_test_add_func("/iscsi/keytable/first-burst-above-max-burst",
                    test_first_burst_above_max_burst);
    g_test_add_func("/iscsi/keytable/format", test_format);
    g_test_add_func("/iscsi/keytable/page-is-fresh", test_page_is_fresh);

    return g_test_run();
}
