/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "iscsi/param.h"

/*
 * The table of text keys: one row per key of RFC 7143 section 13, its obsolete
 * keys, those of the CHAP authentication method and RFC 7144
 *
 * The negotiator, the login stages, the parameters that an administrator may
 * set per target, and docs/iscsi-keys.md all read this table.
 */

typedef enum {
    KEY_AUTH_METHOD,
    KEY_CHAP_A,
    KEY_CHAP_C,
    KEY_CHAP_I,
    KEY_CHAP_N,
    KEY_CHAP_R,
    KEY_DATA_DIGEST,
    KEY_DATA_PDU_IN_ORDER,
    KEY_DATA_SEQUENCE_IN_ORDER,
    KEY_DEFAULT_TIME2RETAIN,
    KEY_DEFAULT_TIME2WAIT,
    KEY_ERROR_RECOVERY_LEVEL,
    KEY_FIRST_BURST_LENGTH,
    KEY_HEADER_DIGEST,
    KEY_IF_MARKER,
    KEY_IF_MARK_INT,
    KEY_IMMEDIATE_DATA,
    KEY_INITIAL_R2T,
    KEY_INITIATOR_ALIAS,
    KEY_INITIATOR_NAME,
    KEY_MAX_BURST_LENGTH,
    KEY_MAX_CONNECTIONS,
    KEY_MAX_OUTSTANDING_R2T,
    KEY_MAX_RECV_DATA_SEGMENT_LENGTH,
    KEY_OF_MARKER,
    KEY_OF_MARK_INT,
    KEY_SEND_TARGETS,
    KEY_SESSION_TYPE,
    KEY_TARGET_ADDRESS,
    KEY_TARGET_ALIAS,
    KEY_TARGET_NAME,
    KEY_TARGET_PORTAL_GROUP_TAG,
    KEY_TASK_REPORTING,
    KEY_X_NODE_ARCHITECTURE,
    KEY_ISCSI_PROTOCOL_LEVEL,
    KEY_N,
} KeyId;

typedef enum {
    KEY_TYPE_TEXT,
    KEY_TYPE_NAME, /* an iSCSI name */
    KEY_TYPE_BOOLEAN,
    KEY_TYPE_NUMBER,
    KEY_TYPE_RANGE, /* number~number */
    KEY_TYPE_LIST,  /* of names, the first that both have is chosen */
    KEY_TYPE_BINARY,
} KeyType;

/* How the two sides' values make one (RFC 7143 6.2 and the key's own clause) */
typedef enum {
    KEY_RULE_NONE, /* declared by one side, nothing to combine */
    KEY_RULE_AND,
    KEY_RULE_OR,
    KEY_RULE_MIN,
    KEY_RULE_MAX,
    KEY_RULE_LIST,
    KEY_RULE_OBSOLETE, /* answered so that the feature stays off */
} KeyRule;

/* When a key may be sent: the "Use" of its clause; 0 is never */
#define KEY_USE_SECURITY     0x01 /* login, security negotiation */
#define KEY_USE_OPERATIONAL  0x02 /* login, operational negotiation */
#define KEY_USE_FULL_FEATURE 0x04
#define KEY_USE_LOGIN        (KEY_USE_SECURITY | KEY_USE_OPERATIONAL)
#define KEY_USE_LEADING      0x08 /* on the leading connection only */
#define KEY_USE_INITIAL      0x10 /* in the first request of a connection */
#define KEY_USE_ANY          (KEY_USE_LOGIN | KEY_USE_FULL_FEATURE)

#define KEY_SENDER_INITIATOR 0x01
#define KEY_SENDER_TARGET    0x02
#define KEY_SENDER_BOTH      (KEY_SENDER_INITIATOR | KEY_SENDER_TARGET)

typedef enum {
    KEY_SCOPE_CONNECTION,
    KEY_SCOPE_SESSION,
} KeyScope;

/* When a key means nothing and is answered Irrelevant */
#define KEY_IRRELEVANT_DISCOVERY 0x01 /* SessionType=Discovery */
#define KEY_IRRELEVANT_NO_FIRST  0x02 /* InitialR2T=Yes and ImmediateData=No */

#define KEY_OFFSET_NONE G_MAXUINT16
#define KEY_VALUES_MAX  4

typedef struct {
    const char *name;
    const char *clause; /* where it is defined */
    KeyType type;
    KeyRule rule;
    KeyScope scope;
    guint8 use;
    guint8 senders;
    guint8 irrelevant;
    gboolean settable;   /* by the administrator, per target */
    gboolean long_value; /* more than TEXT_VALUE_MAX bytes */
    guint16 offset;      /* of its member in IscsiParams, or KEY_OFFSET_NONE */
    guint32 min;         /* of numbers, on the wire */
    guint32 max;
    guint32 rfc_default;                /* number, boolean or index into values */
    guint32 our_default;                /* what we offer; for lists a mask of values */
    guint32 our_max;                    /* the most that an administrator may set */
    const char *values[KEY_VALUES_MAX]; /* of lists; value i is bit 1 << i of a mask */
    const char *summary;
} KeyRow;

const KeyRow *key_get(KeyId id);

/* The row of a key by its name on the wire, or NULL */
const KeyRow *key_find(const char *name);
KeyId key_id(const KeyRow *row);

/* Which of a list's values @item is, or -1 */
gint key_value_index(const KeyRow *row, const char *item, gsize size);

/* The member of @params that @row is about; the row must have one */
guint32 key_value_get(const KeyRow *row, const IscsiParams *params);
void key_value_set(const KeyRow *row, IscsiParams *params, guint32 value);

/**
 * key_value_parse() - read an administrator's value of a settable key
 * @value: a number, Yes or No, or a list such as "CRC32C,None"
 * @ret_value: what the member of IscsiParams becomes; a mask for lists
 *
 * Returns: FALSE with LUNPORT_ERROR_INVALID_ARGUMENT that names the key and what it takes
 */
gboolean key_value_parse(const KeyRow *row, const char *value, guint32 *ret_value,
                         GError **ret_error);

/* The reverse: "262144", "Yes", "None,CRC32C"; owned by the caller */
char *key_value_format(const KeyRow *row, guint32 value);

/**
 * key_check_value() - judge a parameter that an administrator wants for a target
 * @name: a settable key
 *
 * Returns: FALSE with LUNPORT_ERROR_INVALID_ARGUMENT
 */
gboolean key_check_value(const char *name, const char *value, GError **ret_error);

/* Set the parameter @name of @params: key_check_value() and then the value */
gboolean key_set(IscsiParams *params, const char *name, const char *value, GError **ret_error);

/**
 * key_check_params() - judge a target's parameters together
 *
 * FirstBurstLength may not be above MaxBurstLength.
 */
gboolean key_check_params(const IscsiParams *params, GError **ret_error);

/* "Yes or No", "a number from 512 to 1048576", …: what key_value_parse() takes; owned by the caller */
char *key_describe(const KeyRow *row);

/* The table as docs/iscsi-keys.md has it; owned by the caller */
char *key_table_to_markdown(void);
