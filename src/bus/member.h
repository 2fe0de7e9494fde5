/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <gio/gio.h>

#include <stddef.h>

/*
 * Properties that are a member of an object of the model as it stands
 *
 * Most properties are. A row names the member; its type in C says how it is
 * written on the bus, so the two cannot differ, and a member of a type that has
 * no such form does not compile. What needs a thought has a getter instead.
 */

typedef enum {
    MEMBER_NONE,    /* the row has a getter */
    MEMBER_TEXT,    /* char *, NULL is empty; s, as text_variant() has it */
    MEMBER_BOOLEAN, /* b */
    MEMBER_UINT16,  /* q */
    MEMBER_UINT32,  /* u */
    MEMBER_UINT64,  /* also gint64, of times; t */
    MEMBER_DOUBLE,  /* d */
    MEMBER_ERROR,   /* GError *, may be NULL; (ss), as errors_variant() has it */
} MemberType;

typedef struct {
    MemberType type;
    gboolean in_spec; /* the member is not of the object, but of its spec */
    gsize spec;       /* with @in_spec: where in the object the pointer to the spec is */
    gsize offset;
} Member;

/* Both are what MEMBER() and SPEC_MEMBER() are made of */
#define MEMBER_TYPE_OF(pointer)                                                                    \
    _Generic((pointer),                                                                            \
        char **: MEMBER_TEXT,                                                                      \
        const char **: MEMBER_TEXT,                                                                \
        gboolean *: MEMBER_BOOLEAN,                                                                \
        guint16 *: MEMBER_UINT16,                                                                  \
        guint32 *: MEMBER_UINT32,                                                                  \
        guint64 *: MEMBER_UINT64,                                                                  \
        gint64 *: MEMBER_UINT64,                                                                   \
        gdouble *: MEMBER_DOUBLE,                                                                  \
        GError **: MEMBER_ERROR)
#define MEMBER_SPEC_TYPE(object_type) __typeof__(*((object_type *)0)->spec)

/* The member @name of an object, or of its member spec, in a row of a table of properties */
#define MEMBER(object_type, name)                                                                  \
    .member = { MEMBER_TYPE_OF(&((object_type *)0)->name), FALSE, 0, offsetof(object_type, name) }
#define SPEC_MEMBER(object_type, name)                                                             \
    .member = { MEMBER_TYPE_OF(&((object_type *)0)->spec->name), TRUE,                             \
                offsetof(object_type, spec), offsetof(MEMBER_SPEC_TYPE(object_type), name) }

/* Its value, floating; @member is not MEMBER_NONE */
GVariant *member_get(const Member *member, gconstpointer object);

/* The signature of its values */
const char *member_signature(const Member *member);
