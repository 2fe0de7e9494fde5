/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

/*
 * The options of all configured objects, each written once
 *
 * One row says what an option is called in key files and on the bus, where it
 * lives in its spec, what values it may have and what it means. The key files,
 * the option dictionaries of the bus, the help of lunctl and the man pages are
 * made from the rows.
 */

typedef enum {
    SCHEMA_BACKSTORE, /* BackstoreSpec */
    SCHEMA_TARGET,    /* TargetSpec */
    SCHEMA_PARAMETER, /* TargetParameters: Target.Parameters, group [Parameters] of a target's file */
    SCHEMA_LUN,       /* LunSpec */
    SCHEMA_PORTAL_GROUP,    /* PortalGroupSpec */
    SCHEMA_PORTAL,          /* PortalSpec */
    SCHEMA_ACL,             /* AclSpec */
    SCHEMA_INITIATOR_GROUP, /* InitiatorGroupSpec */
    SCHEMA_SETTINGS,        /* SettingsSpec */
    SCHEMA_N,
} SchemaScope;

typedef enum {
    SCHEMA_STRING,  /* char *, NULL is empty; on the bus s */
    SCHEMA_BOOLEAN, /* gboolean; b */
    SCHEMA_UINT16,  /* guint16; q */
    SCHEMA_UINT32,  /* guint32; u */
    SCHEMA_SIZE,    /* guint64 bytes, in files with K, M, G, T (powers of 1024); t */
} SchemaType;

typedef enum {
    SCHEMA_IN_FILE = 1 << 0,     /* a key of the key file */
    SCHEMA_AT_CREATION = 1 << 1, /* an option of the creating method (and of SetParameters) */
    SCHEMA_IDENTITY =
        1 << 2, /* an argument of the creating method, not an option: name, type, tag */
} SchemaFlags;

typedef struct {
    SchemaScope scope;
    gsize offset;       /* in the spec */
    const char *key;    /* in key files and Target.Parameters: "BlockSize" */
    const char *option; /* on the bus and the command line: "block-size" */
    SchemaType type;
    const char *preset; /* default, as text */
    guint64 min, max;   /* of numbers and, for strings, of the length in bytes */
    gboolean (*check)(const char *text,
                      GError **ret_error); /* of strings that are not empty; or NULL */
    guint flags;                           /* of SchemaFlags */
    const char *doc;                       /* one sentence, without the final dot */
} SchemaOption;

/* All rows, in the order of the man page */
const SchemaOption *schema_options(guint *ret_n_options);

/* By the name on the bus ("block-size"), only rows with SCHEMA_AT_CREATION; or NULL */
const SchemaOption *schema_find_option(SchemaScope scope, const char *option);

/* By the name in files ("BlockSize"), only rows with SCHEMA_IN_FILE; or NULL */
const SchemaOption *schema_find_key(SchemaScope scope, const char *key);

/* Set every member of @spec that has a row to its default; strings that are there are not freed */
void schema_init(SchemaScope scope, gpointer spec);

/* Free the strings of @spec */
void schema_clear(SchemaScope scope, gpointer spec);

/* Copy every member that has a row; @to is overwritten, not cleared */
void schema_copy(SchemaScope scope, gpointer to, gconstpointer from);

/* The same for a spec that is on the heap; _free takes NULL. Members that have no row are zero. */
gpointer schema_new(SchemaScope scope);
gpointer schema_dup(SchemaScope scope, gconstpointer spec);
void schema_free(SchemaScope scope, gpointer spec);

gboolean schema_is_equal(SchemaScope scope, gconstpointer a, gconstpointer b);

/**
 * schema_set_variant() - set a member from a value of the bus
 *
 * Judges the value completely: type, range and check. An integer of another width is accepted when
 * its value fits.
 *
 * Returns: TRUE, or FALSE with INVALID_ARGUMENT (INVALID_NAME from name checks) and @spec unchanged
 */
gboolean schema_set_variant(const SchemaOption *option, gpointer spec, GVariant *value,
                            GError **ret_error);

/* The same from text, as key files and command lines have it: yes/no, 4096, 1G */
gboolean schema_set_text(const SchemaOption *option, gpointer spec, const char *text,
                         GError **ret_error);

/* The member as text; never NULL */
char *schema_format_text(const SchemaOption *option, gconstpointer spec);

/* The member as a floating value of the type of the row */
GVariant *schema_get_variant(const SchemaOption *option, gconstpointer spec);

/* The same as a number; not of strings */
guint64 schema_get_number(const SchemaOption *option, gconstpointer spec);

gboolean schema_is_default(const SchemaOption *option, gconstpointer spec);

/* All rows as a table for people: the man page lunport.conf(5) and lunportd --print-options */
char *schema_format_table(void);
