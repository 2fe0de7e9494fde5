/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The key table
 *
 * What RFC 7143 says of a text key is one row here and nowhere else. The
 * negotiator reads how to combine two values, login reads when a key may come,
 * the configuration reads what an administrator may set, and the manual's page
 * is printed from it. A key that is not in the table is NotUnderstood, and so
 * are the private ones (X-).
 *
 * "Use" is written as the RFC has it. LO: leading connection only. IO: during
 * login only. FFPO: full feature phase only. ALL: any time. Any-Stage: in the
 * security stage too; all others wait for the operational stage.
 *
 * our_max is below what the wire allows where a value would promise more than
 * this target does: buffers are at most 1 MiB in one piece, and a session has a
 * few connections.
 */

#include "iscsi/keytable.h"

#include <string.h>

#include "iscsi/text.h"
#include "util/error.h"

#define LENGTH_MIN 512u
#define LENGTH_MAX 16777215u /* 2**24 - 1 */
#define MIB        1048576u
#define NONE       KEY_OFFSET_NONE

#define OFFSET(member) (guint16) G_STRUCT_OFFSET(IscsiParams, member)

#define LO        (KEY_USE_OPERATIONAL | KEY_USE_LEADING)
#define IO        KEY_USE_OPERATIONAL
#define ALL       (KEY_USE_OPERATIONAL | KEY_USE_FULL_FEATURE)
#define FFPO      KEY_USE_FULL_FEATURE
#define SECURITY  KEY_USE_SECURITY
#define ANY_LOGIN KEY_USE_LOGIN
#define ANY       KEY_USE_ANY

#define INITIATOR KEY_SENDER_INITIATOR
#define TARGET    KEY_SENDER_TARGET
#define BOTH      KEY_SENDER_BOTH

#define DISCOVERY KEY_IRRELEVANT_DISCOVERY
#define NO_FIRST  KEY_IRRELEVANT_NO_FIRST

/* clang-format off */
static const KeyRow rows[KEY_N] = {
    /* 12: authentication */
    [KEY_AUTH_METHOD] = { "AuthMethod", "12.1", KEY_TYPE_LIST, KEY_RULE_LIST, KEY_SCOPE_CONNECTION, SECURITY, BOTH, .offset = NONE,
        .values = { "None", "CHAP" }, .summary = "how the two sides prove who they are" },
    [KEY_CHAP_A] = { "CHAP_A", "12.1.3", KEY_TYPE_LIST, KEY_RULE_NONE, KEY_SCOPE_CONNECTION, SECURITY, BOTH, .offset = NONE,
        .summary = "hash algorithms of CHAP" },
    [KEY_CHAP_C] = { "CHAP_C", "12.1.3", KEY_TYPE_BINARY, KEY_RULE_NONE, KEY_SCOPE_CONNECTION, SECURITY, BOTH, .long_value = TRUE, .offset = NONE,
        .summary = "challenge of CHAP" },
    [KEY_CHAP_I] = { "CHAP_I", "12.1.3", KEY_TYPE_NUMBER, KEY_RULE_NONE, KEY_SCOPE_CONNECTION, SECURITY, BOTH, .offset = NONE, .max = 255,
        .summary = "identifier of a challenge" },
    [KEY_CHAP_N] = { "CHAP_N", "12.1.3", KEY_TYPE_TEXT, KEY_RULE_NONE, KEY_SCOPE_CONNECTION, SECURITY, BOTH, .offset = NONE,
        .summary = "name that CHAP authenticates" },
    [KEY_CHAP_R] = { "CHAP_R", "12.1.3", KEY_TYPE_BINARY, KEY_RULE_NONE, KEY_SCOPE_CONNECTION, SECURITY, BOTH, .long_value = TRUE, .offset = NONE,
        .summary = "response of CHAP" },

    /* 13: declared */
    [KEY_INITIATOR_ALIAS] = { "InitiatorAlias", "13.7", KEY_TYPE_TEXT, KEY_RULE_NONE, KEY_SCOPE_SESSION, ANY, INITIATOR, .offset = NONE,
        .summary = "a readable name of the initiator" },
    [KEY_INITIATOR_NAME] = { "InitiatorName", "13.5", KEY_TYPE_NAME, KEY_RULE_NONE, KEY_SCOPE_SESSION, ANY_LOGIN | KEY_USE_INITIAL, INITIATOR, .offset = NONE,
        .summary = "who logs in" },
    [KEY_SEND_TARGETS] = { "SendTargets", "13.3", KEY_TYPE_TEXT, KEY_RULE_NONE, KEY_SCOPE_SESSION, FFPO, INITIATOR, .offset = NONE,
        .summary = "asks for names and addresses of targets" },
    [KEY_SESSION_TYPE] = { "SessionType", "13.21", KEY_TYPE_LIST, KEY_RULE_NONE, KEY_SCOPE_SESSION, ANY_LOGIN | KEY_USE_LEADING | KEY_USE_INITIAL, INITIATOR, .offset = NONE,
        .values = { "Normal", "Discovery" }, .summary = "what the session is for" },
    [KEY_TARGET_ADDRESS] = { "TargetAddress", "13.8", KEY_TYPE_TEXT, KEY_RULE_NONE, KEY_SCOPE_SESSION, ANY, TARGET, .offset = NONE,
        .summary = "where a target is reached, or where it has moved to" },
    [KEY_TARGET_ALIAS] = { "TargetAlias", "13.6", KEY_TYPE_TEXT, KEY_RULE_NONE, KEY_SCOPE_SESSION, ANY, TARGET, .offset = NONE,
        .summary = "a readable name of the target" },
    [KEY_TARGET_NAME] = { "TargetName", "13.4", KEY_TYPE_NAME, KEY_RULE_NONE, KEY_SCOPE_SESSION, ANY_LOGIN | KEY_USE_INITIAL, BOTH, .offset = NONE,
        .summary = "which target is meant; from the target only in the answer to SendTargets" },
    [KEY_TARGET_PORTAL_GROUP_TAG] = { "TargetPortalGroupTag", "13.9", KEY_TYPE_NUMBER, KEY_RULE_NONE, KEY_SCOPE_SESSION, ANY_LOGIN, TARGET, .offset = NONE, .max = 65535,
        .summary = "portal group of the session" },
    [KEY_X_NODE_ARCHITECTURE] = { "X#NodeArchitecture", "13.26", KEY_TYPE_LIST, KEY_RULE_NONE, KEY_SCOPE_SESSION, LO, BOTH, .offset = NONE,
        .summary = "software and hardware of the other side, for statistics" },
    [KEY_MAX_RECV_DATA_SEGMENT_LENGTH] = { "MaxRecvDataSegmentLength", "13.12", KEY_TYPE_NUMBER, KEY_RULE_NONE, KEY_SCOPE_CONNECTION, ALL, BOTH,
        .settable = TRUE, .offset = OFFSET(max_recv_data_segment_length), .min = LENGTH_MIN, .max = LENGTH_MAX, .rfc_default = 8192, .our_default = MIB, .our_max = MIB,
        .summary = "most bytes of data in one PDU that its sender takes" },

    /* 13: negotiated, of a connection */
    [KEY_DATA_DIGEST] = { "DataDigest", "13.1", KEY_TYPE_LIST, KEY_RULE_LIST, KEY_SCOPE_CONNECTION, IO, BOTH,
        .settable = TRUE, .offset = OFFSET(data_digest), .rfc_default = ISCSI_DIGEST_NONE, .our_default = ISCSI_DIGEST_MASK_ANY, .values = { "None", "CRC32C" },
        .summary = "checksum over data segments" },
    [KEY_HEADER_DIGEST] = { "HeaderDigest", "13.1", KEY_TYPE_LIST, KEY_RULE_LIST, KEY_SCOPE_CONNECTION, IO, BOTH,
        .settable = TRUE, .offset = OFFSET(header_digest), .rfc_default = ISCSI_DIGEST_NONE, .our_default = ISCSI_DIGEST_MASK_ANY, .values = { "None", "CRC32C" },
        .summary = "checksum over headers" },

    /* 13: negotiated, of the session */
    [KEY_DATA_PDU_IN_ORDER] = { "DataPDUInOrder", "13.18", KEY_TYPE_BOOLEAN, KEY_RULE_OR, KEY_SCOPE_SESSION, LO, BOTH, DISCOVERY,
        .offset = OFFSET(data_pdu_in_order), .max = 1, .rfc_default = 1, .our_default = 1, .our_max = 1,
        .summary = "data PDUs of a sequence are in order of address" },
    [KEY_DATA_SEQUENCE_IN_ORDER] = { "DataSequenceInOrder", "13.19", KEY_TYPE_BOOLEAN, KEY_RULE_OR, KEY_SCOPE_SESSION, LO, BOTH, DISCOVERY,
        .offset = OFFSET(data_sequence_in_order), .max = 1, .rfc_default = 1, .our_default = 1, .our_max = 1,
        .summary = "sequences of a command are in order of address" },
    [KEY_DEFAULT_TIME2RETAIN] = { "DefaultTime2Retain", "13.16", KEY_TYPE_NUMBER, KEY_RULE_MIN, KEY_SCOPE_SESSION, LO, BOTH,
        .settable = TRUE, .offset = OFFSET(default_time2retain), .max = 3600, .rfc_default = 20, .our_default = 20, .our_max = 3600,
        .summary = "seconds after Time2Wait in which tasks can still be reassigned" },
    [KEY_DEFAULT_TIME2WAIT] = { "DefaultTime2Wait", "13.15", KEY_TYPE_NUMBER, KEY_RULE_MAX, KEY_SCOPE_SESSION, LO, BOTH,
        .settable = TRUE, .offset = OFFSET(default_time2wait), .max = 3600, .rfc_default = 2, .our_default = 2, .our_max = 3600,
        .summary = "seconds to wait before a lost connection is tried again" },
    [KEY_ERROR_RECOVERY_LEVEL] = { "ErrorRecoveryLevel", "13.20", KEY_TYPE_NUMBER, KEY_RULE_MIN, KEY_SCOPE_SESSION, LO, BOTH,
        .settable = TRUE, .offset = OFFSET(error_recovery_level), .max = 2, .rfc_default = 0, .our_default = 0, .our_max = 2,
        .summary = "what can be recovered without losing the session" },
    [KEY_FIRST_BURST_LENGTH] = { "FirstBurstLength", "13.14", KEY_TYPE_NUMBER, KEY_RULE_MIN, KEY_SCOPE_SESSION, LO, BOTH, DISCOVERY | NO_FIRST,
        .settable = TRUE, .offset = OFFSET(first_burst_length), .min = LENGTH_MIN, .max = LENGTH_MAX, .rfc_default = 65536, .our_default = 262144, .our_max = MIB,
        .summary = "most bytes of unsolicited data of one command" },
    [KEY_IMMEDIATE_DATA] = { "ImmediateData", "13.11", KEY_TYPE_BOOLEAN, KEY_RULE_AND, KEY_SCOPE_SESSION, LO, BOTH, DISCOVERY,
        .settable = TRUE, .offset = OFFSET(immediate_data), .max = 1, .rfc_default = 1, .our_default = 1, .our_max = 1,
        .summary = "commands may bring data with them" },
    [KEY_INITIAL_R2T] = { "InitialR2T", "13.10", KEY_TYPE_BOOLEAN, KEY_RULE_OR, KEY_SCOPE_SESSION, LO, BOTH, DISCOVERY,
        .settable = TRUE, .offset = OFFSET(initial_r2t), .max = 1, .rfc_default = 1, .our_default = 0, .our_max = 1,
        .summary = "data in PDUs of their own wait for an R2T" },
    [KEY_MAX_BURST_LENGTH] = { "MaxBurstLength", "13.13", KEY_TYPE_NUMBER, KEY_RULE_MIN, KEY_SCOPE_SESSION, LO, BOTH, DISCOVERY,
        .settable = TRUE, .offset = OFFSET(max_burst_length), .min = LENGTH_MIN, .max = LENGTH_MAX, .rfc_default = 262144, .our_default = MIB, .our_max = MIB,
        .summary = "most bytes of one sequence of data" },
    [KEY_MAX_CONNECTIONS] = { "MaxConnections", "13.2", KEY_TYPE_NUMBER, KEY_RULE_MIN, KEY_SCOPE_SESSION, LO, BOTH, DISCOVERY,
        .settable = TRUE, .offset = OFFSET(max_connections), .min = 1, .max = 65535, .rfc_default = 1, .our_default = 4, .our_max = 8,
        .summary = "connections of one session" },
    [KEY_MAX_OUTSTANDING_R2T] = { "MaxOutstandingR2T", "13.17", KEY_TYPE_NUMBER, KEY_RULE_MIN, KEY_SCOPE_SESSION, LO, BOTH, DISCOVERY,
        .settable = TRUE, .offset = OFFSET(max_outstanding_r2t), .min = 1, .max = 65535, .rfc_default = 1, .our_default = 16, .our_max = 16,
        .summary = "R2Ts of one command that are open at once" },
    [KEY_TASK_REPORTING] = { "TaskReporting", "13.23", KEY_TYPE_LIST, KEY_RULE_LIST, KEY_SCOPE_SESSION, LO, BOTH, DISCOVERY,
        .offset = OFFSET(task_reporting), .rfc_default = ISCSI_TASK_REPORTING_RFC3720,
        .our_default = 1u << ISCSI_TASK_REPORTING_RFC3720 | 1u << ISCSI_TASK_REPORTING_RESPONSE_FENCE | 1u << ISCSI_TASK_REPORTING_FAST_ABORT, .values = { "RFC3720", "ResponseFence", "FastAbort" },
        .summary = "how the end of aborted tasks is told" },
    [KEY_ISCSI_PROTOCOL_LEVEL] = { "iSCSIProtocolLevel", "13.24", KEY_TYPE_NUMBER, KEY_RULE_MIN, KEY_SCOPE_SESSION, LO, BOTH, DISCOVERY,
        .offset = OFFSET(protocol_level), .max = 31, .rfc_default = 1, .our_default = 2, .our_max = 2,
        .summary = "version of the protocol's features: 1 is RFC 7143, 2 adds RFC 7144" },

    /* NotUnderstood is not allowed as an answer. */
    [KEY_IF_MARKER] = { "IFMarker", "13.25", KEY_TYPE_BOOLEAN, KEY_RULE_OBSOLETE, KEY_SCOPE_CONNECTION, IO, BOTH, .offset = NONE,
        .summary = "obsolete: markers towards the initiator" },
    [KEY_IF_MARK_INT] = { "IFMarkInt", "13.25", KEY_TYPE_RANGE, KEY_RULE_OBSOLETE, KEY_SCOPE_CONNECTION, IO, BOTH, .offset = NONE,
        .summary = "obsolete: distance of such markers" },
    [KEY_OF_MARKER] = { "OFMarker", "13.25", KEY_TYPE_BOOLEAN, KEY_RULE_OBSOLETE, KEY_SCOPE_CONNECTION, IO, BOTH, .offset = NONE,
        .summary = "obsolete: markers towards the target" },
    [KEY_OF_MARK_INT] = { "OFMarkInt", "13.25", KEY_TYPE_RANGE, KEY_RULE_OBSOLETE, KEY_SCOPE_CONNECTION, IO, BOTH, .offset = NONE,
        .summary = "obsolete: distance of such markers" },
};
/* clang-format on */

const KeyRow *
key_get(KeyId id)
{
    g_assert(id < KEY_N);
    return &rows[id];
}

const KeyRow *
key_find(const char *name)
{
    for (gsize i = 0; i < KEY_N; i++) {
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    }

    return NULL;
}

KeyId
key_id(const KeyRow *row)
{
    return (KeyId)(row - rows);
}

static guint32 *
member(const KeyRow *row, IscsiParams *params)
{
    g_assert(row->offset != KEY_OFFSET_NONE);
    return (guint32 *)(void *)((char *)params + row->offset);
}

guint32
key_value_get(const KeyRow *row, const IscsiParams *params)
{
    g_assert(row->offset != KEY_OFFSET_NONE);
    return *(const guint32 *)(const void *)((const char *)params + row->offset);
}

void
key_value_set(const KeyRow *row, IscsiParams *params, guint32 value)
{
    *member(row, params) = value;
}

gint
key_value_index(const KeyRow *row, const char *item, gsize size)
{
    for (gint i = 0; i < KEY_VALUES_MAX && row->values[i] != NULL; i++) {
        if (text_item_is(item, size, row->values[i]))
            return i;
    }

    return -1;
}

static gboolean
parse_list(const KeyRow *row, const char *list, guint32 *ret_mask)
{
    const char *item;
    guint32 mask = 0;
    gsize size;

    while (text_list_next(&list, &item, &size)) {
        gint i = key_value_index(row, item, size);

        if (i < 0)
            return FALSE;
        mask |= 1u << i;
    }

    *ret_mask = mask;
    return TRUE;
}

static gboolean
parse_value(const KeyRow *row, const char *value, guint32 *ret_value)
{
    guint64 number;
    gboolean boolean;

    switch (row->type) {
    case KEY_TYPE_BOOLEAN:
        if (!text_parse_boolean(value, &boolean))
            return FALSE;
        *ret_value = (guint32)boolean;
        return TRUE;
    case KEY_TYPE_NUMBER:
        if (!text_parse_number(value, &number) || number < row->min || number > row->our_max)
            return FALSE;
        *ret_value = (guint32)number;
        return TRUE;
    case KEY_TYPE_LIST:
        return parse_list(row, value, ret_value);
    case KEY_TYPE_TEXT:
    case KEY_TYPE_NAME:
    case KEY_TYPE_RANGE:
    case KEY_TYPE_BINARY:
        break;
    }

    return FALSE;
}

gboolean
key_value_parse(const KeyRow *row, const char *value, guint32 *ret_value, GError **ret_error)
{
    g_autofree char *description = NULL;

    if (row->settable && parse_value(row, value, ret_value))
        return TRUE;

    description = key_describe(row);
    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                "“%s” is not a value of %s, which takes %s", value, row->name, description);
    return FALSE;
}

static char *
format_mask(const KeyRow *row, guint32 mask, const char *separator)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < KEY_VALUES_MAX && row->values[i] != NULL; i++) {
        if ((mask & 1u << i) == 0)
            continue;
        if (text->len != 0)
            g_string_append(text, separator);
        g_string_append(text, row->values[i]);
    }

    return g_string_free(text, FALSE);
}

char *
key_value_format(const KeyRow *row, guint32 value)
{
    switch (row->type) {
    case KEY_TYPE_BOOLEAN:
        return g_strdup(value != 0 ? "Yes" : "No");
    case KEY_TYPE_LIST:
        return format_mask(row, value, ",");
    case KEY_TYPE_NUMBER:
        return g_strdup_printf("%u", value);
    case KEY_TYPE_TEXT:
    case KEY_TYPE_NAME:
    case KEY_TYPE_RANGE:
    case KEY_TYPE_BINARY:
        break;
    }

    return g_strdup("");
}

static const KeyRow *
find_settable(const char *name, GError **ret_error)
{
    const KeyRow *row = key_find(name);

    if (row != NULL && row->settable)
        return row;

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                "“%s” is not a parameter that can be set for a target", name);
    return NULL;
}

gboolean
key_check_value(const char *name, const char *value, GError **ret_error)
{
    const KeyRow *row = find_settable(name, ret_error);
    guint32 number;

    return row != NULL && key_value_parse(row, value, &number, ret_error);
}

gboolean
key_set(IscsiParams *params, const char *name, const char *value, GError **ret_error)
{
    const KeyRow *row = find_settable(name, ret_error);
    guint32 number;

    if (row == NULL || !key_value_parse(row, value, &number, ret_error))
        return FALSE;
    key_value_set(row, params, number);
    return TRUE;
}

gboolean
key_check_params(const IscsiParams *params, GError **ret_error)
{
    if (params->first_burst_length <= params->max_burst_length)
        return TRUE;

    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                "FirstBurstLength (%u) is above MaxBurstLength (%u)", params->first_burst_length,
                params->max_burst_length);
    return FALSE;
}

char *
key_describe(const KeyRow *row)
{
    g_autofree char *values = NULL;

    if (!row->settable)
        return g_strdup("no value of the administrator");

    switch (row->type) {
    case KEY_TYPE_BOOLEAN:
        return g_strdup("Yes or No");
    case KEY_TYPE_NUMBER:
        return g_strdup_printf("a number from %u to %u", row->min, row->our_max);
    case KEY_TYPE_LIST:
        values = format_mask(row, G_MAXUINT32, ", ");
        return g_strdup_printf("one or more of %s, separated by commas", values);
    case KEY_TYPE_TEXT:
    case KEY_TYPE_NAME:
    case KEY_TYPE_RANGE:
    case KEY_TYPE_BINARY:
        break;
    }

    return g_strdup("text");
}

void
iscsi_params_init_offer(IscsiParams *params)
{
    memset(params, 0, sizeof *params);
    for (gsize i = 0; i < KEY_N; i++) {
        if (rows[i].offset != KEY_OFFSET_NONE)
            *member(&rows[i], params) = rows[i].our_default;
    }
    params->max_xmit_data_segment_length = rows[KEY_MAX_RECV_DATA_SEGMENT_LENGTH].rfc_default;
}

void
iscsi_params_init_rfc(IscsiParams *params)
{
    memset(params, 0, sizeof *params);
    for (gsize i = 0; i < KEY_N; i++) {
        if (rows[i].offset != KEY_OFFSET_NONE)
            *member(&rows[i], params) = rows[i].rfc_default;
    }
    params->max_xmit_data_segment_length = rows[KEY_MAX_RECV_DATA_SEGMENT_LENGTH].rfc_default;
}

/*
 * The page docs/iscsi-keys.md
 */

static const char *
rule_name(KeyRule rule)
{
    switch (rule) {
    case KEY_RULE_NONE:
        return "declared";
    case KEY_RULE_AND:
        return "and";
    case KEY_RULE_OR:
        return "or";
    case KEY_RULE_MIN:
        return "minimum";
    case KEY_RULE_MAX:
        return "maximum";
    case KEY_RULE_LIST:
        return "first in common";
    case KEY_RULE_OBSOLETE:
        return "obsolete";
    }

    g_assert_not_reached();
}

static char *
use_name(const KeyRow *row)
{
    if ((row->use & KEY_USE_ANY) == KEY_USE_SECURITY)
        return g_strdup("security stage");
    if ((row->use & KEY_USE_ANY) == KEY_USE_FULL_FEATURE)
        return g_strdup("FFPO");
    return g_strdup_printf("%s%s",
                           (row->use & KEY_USE_LEADING) != 0        ? "LO"
                           : (row->use & KEY_USE_FULL_FEATURE) != 0 ? "ALL"
                                                                    : "IO",
                           (row->use & KEY_USE_SECURITY) != 0 ? ", any stage" : "");
}

static const char *
sender_name(const KeyRow *row)
{
    return row->senders == BOTH ? "both" : row->senders == INITIATOR ? "initiator" : "target";
}

/* What a key takes, as the RFC has it; then its default, then ours */
static void
append_values(GString *page, const KeyRow *row)
{
    g_autofree char *values = format_mask(row, G_MAXUINT32, ", ");
    g_autofree char *ours = key_value_format(row, row->our_default);

    if (row->type == KEY_TYPE_BOOLEAN)
        g_string_append(page, "Yes, No | ");
    else if (row->type == KEY_TYPE_NUMBER)
        g_string_append_printf(page, "%u to %u | ", row->min, row->max);
    else
        g_string_append_printf(page, "%s | ", values);

    if (row->offset == KEY_OFFSET_NONE) {
        g_string_append(page, " | ");
    } else if (row->type == KEY_TYPE_LIST) {
        g_string_append_printf(page, "%s | %s", row->values[row->rfc_default], ours);
    } else {
        g_autofree char *rfc = key_value_format(row, row->rfc_default);

        g_string_append_printf(page, "%s | %s", rfc, ours);
    }
}

static void
append_row(GString *page, const KeyRow *row)
{
    g_autofree char *use = use_name(row);

    g_string_append_printf(page, "| `%s` | %s | %s | %s | %s | %s | ", row->name, row->clause, use,
                           sender_name(row), row->scope == KEY_SCOPE_SESSION ? "SW" : "CO",
                           rule_name(row->rule));
    append_values(page, row);
    g_string_append(page, " | ");
    if (row->settable) {
        g_autofree char *description = key_describe(row);

        g_string_append(page, description);
    }
    g_string_append_printf(page, " | %s%s |\n", row->summary,
                           (row->irrelevant & KEY_IRRELEVANT_DISCOVERY) != 0
                               ? "; irrelevant in discovery sessions"
                               : "");
}

char *
key_table_to_markdown(void)
{
    GString *page = g_string_new(
        "<!-- SPDX-License-Identifier: LGPL-2.1-or-later -->\n"
        "# iSCSI text keys\n"
        "\n"
        "Printed from the table in `src/iscsi/keytable.c` by `dump-iscsi-keys`; do not edit. "
        "Clauses are those of RFC 7143.\n"
        "Any other key is answered `NotUnderstood`.\n"
        "\n"
        "| key | clause | use | sender | scope | result | values | default | offered | "
        "settable per target | what it is |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|\n");

    for (gsize i = 0; i < KEY_N; i++)
        append_row(page, &rows[i]);

    return g_string_free(page, FALSE);
}
