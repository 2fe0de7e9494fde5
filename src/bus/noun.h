/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <gio/gio.h>

#include "bus/member.h"
#include "bus/options.h"
#include "control/service.h"

/*
 * Nouns
 *
 * A noun is one interface of the contract in dbus/, as two tables: how each
 * property is read from the object behind it, and what each method does. The
 * XML says the rest: types, what emits changes, and which polkit action a
 * method needs. All that is the same for every noun (options, authorization,
 * looking the object up, errors, PropertiesChanged) is done once, in face.c,
 * call.c and tree.c.
 *
 * An object is named by its Key, never by a pointer: it may go at any time
 * between a call and its answer.
 */

typedef struct Call Call;
typedef struct Noun Noun;

typedef struct {
    char *name;     /* of a target or backstore; NULL where numbers are enough */
    guint32 number; /* of a logical unit, portal group, portal, session or job */
    guint16 part;   /* the connection of a session */
} Key;

typedef struct {
    const char *name; /* NULL ends the table */
    /* One of both: a member as it stands, by MEMBER() or SPEC_MEMBER(), or what makes a floating value */
    Member member;
    GVariant *(*get)(Service *service, gconstpointer object);
    gboolean counted; /* announced at most once a second */
} PropertyRow;

typedef struct {
    const char *name; /* NULL ends the table */
    const OptionTable
        *options; /* of its last argument, if that is options; or NULL: the common ones */
    /* Judge the arguments and add details for polkit; called before and after authorization */
    gboolean (*check)(Call *call, gconstpointer object, GError **ret_error);
    /* Do it, and give the call back through call_return() or call_fail(), now or later */
    void (*run)(Call *call, gpointer object);
} MethodRow;

struct Noun {
    const char *kind; /* “target”: for sentences */
    const GDBusInterfaceInfo *info;
    const PropertyRow *properties;
    const MethodRow *methods;
    gpointer (*find)(Service *service, const Key *key); /* NULL when it has gone */
    void (*describe)(Call *call, gconstpointer object); /* details for polkit, or NULL */
    uid_t (*owner)(gconstpointer object); /* who needs no authorization for it, or NULL */
    int missing; /* the LunportError of a call to an object that has gone */
};

extern const Noun acl_noun;
extern const Noun backstore_noun;
extern const Noun connection_noun;
extern const Noun initiator_group_noun;
extern const Noun job_noun;
extern const Noun lun_noun;
extern const Noun manager_noun;
extern const Noun portal_group_noun;
extern const Noun portal_noun;
extern const Noun session_noun;
extern const Noun target_noun;

/* All of them; ends with NULL */
extern const Noun *const nouns[];

/* Assert that tables and XML fit together: a row for each member and no row too many */
void noun_check(const Noun *noun);

const MethodRow *noun_find_method(const Noun *noun, const char *name);
const PropertyRow *noun_find_property(const Noun *noun, const char *name);

/* What the property of @row is now; floating */
GVariant *noun_get_property(const PropertyRow *row, Service *service, gconstpointer object);
