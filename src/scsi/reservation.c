/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * State of reservations: a value
 *
 * Pure functions on the snapshot: find, add, remove, what is refused to whom,
 * and the form in which it is stored. A new state is made by copying the old
 * one and changing the copy before anybody else has seen it. Who decides and
 * how it becomes known is in lu-reservation.c.
 *
 * The stored form is lines of text (record.h), so that an administrator can read it:
 *
 *     lunport-reservations 2
 *     generation 3
 *     aptpl 1
 *     type 5
 *     holder 0
 *     registration 0123456789abcdef 1 iqn.2026-11.org.example:host,i,0x00023d000001 5e6f7a8b
 *     crc32c 1a2b3c4d
 *
 * The last word stands for the target. Version 1 did not have it.
 *
 * The generation is of use only while the service runs: it starts at zero with
 * the power.
 */

#include "scsi/reservation.h"

#include <string.h>

#include "scsi/lu-shard.h"
#include "scsi/record.h"

#define RECORD_KIND    "reservations"
#define RECORD_VERSION 2

static void
reservations_free(Snapshot *snapshot)
{
    g_free(list_entry(snapshot, Reservations, snapshot));
}

static Reservations *
allocate(guint n_room)
{
    Reservations *reservations =
        g_malloc0(sizeof(Reservations) + (gsize)n_room * sizeof(Registration));

    snapshot_init(&reservations->snapshot, reservations_free);
    reservations->n_room = n_room;
    return reservations;
}

Reservations *
reservations_new(void)
{
    return allocate(0);
}

Reservations *
reservations_copy(const Reservations *from, guint extra)
{
    Reservations *copy = allocate(from->n + extra);

    copy->generation = from->generation;
    copy->aptpl = from->aptpl;
    copy->type = from->type;
    copy->holder = from->holder;
    copy->is_reserved = from->is_reserved;
    copy->reserved_by = from->reserved_by;
    copy->n = from->n;
    memcpy(copy->entries, from->entries, from->n * sizeof(Registration));
    return copy;
}

void
reservations_unref(Reservations *reservations)
{
    if (reservations != NULL)
        snapshot_unref(&reservations->snapshot);
}

void
nexus_name_init(NexusName *name, const Nexus *nexus)
{
    memset(name, 0, sizeof(*name));
    g_strlcpy(name->name, nexus->initiator_port_name, sizeof(name->name));
    name->port = nexus->relative_target_port;
    name->target = lu_target_id(nexus->target_name);
}

gboolean
nexus_name_equal(const NexusName *a, const NexusName *b)
{
    return a->port == b->port && (a->target == b->target || a->target == 0 || b->target == 0) &&
           strcmp(a->name, b->name) == 0;
}

gboolean
reservations_find(const Reservations *reservations, const NexusName *nexus, guint *ret_index)
{
    for (guint i = 0; i < reservations->n; i++) {
        if (nexus_name_equal(&reservations->entries[i].nexus, nexus)) {
            *ret_index = i;
            return TRUE;
        }
    }

    return FALSE;
}

gboolean
pr_type_is_valid(guint8 type)
{
    return type == PR_TYPE_WRITE_EXCLUSIVE || type == PR_TYPE_EXCLUSIVE_ACCESS ||
           pr_type_is_shared(type);
}

gboolean
pr_type_is_all_registrants(guint8 type)
{
    return type == PR_TYPE_WRITE_EXCLUSIVE_AR || type == PR_TYPE_EXCLUSIVE_ACCESS_AR;
}

gboolean
pr_type_is_shared(guint8 type)
{
    return type >= PR_TYPE_WRITE_EXCLUSIVE_RO && type <= PR_TYPE_EXCLUSIVE_ACCESS_AR;
}

gboolean
reservations_is_holder(const Reservations *reservations, guint index)
{
    if (reservations->type == PR_TYPE_NONE)
        return FALSE;

    return pr_type_is_all_registrants(reservations->type) || reservations->holder == index;
}

gboolean
reservations_add(Reservations *reservations, const NexusName *nexus, guint64 key)
{
    Registration *registration;

    if (reservations->n >= REGISTRATIONS_MAX)
        return FALSE;

    g_assert(reservations->n < reservations->n_room);
    registration = &reservations->entries[reservations->n++];
    registration->nexus = *nexus;
    registration->key = key;
    return TRUE;
}

void
reservations_release(Reservations *reservations)
{
    reservations->type = PR_TYPE_NONE;
    reservations->holder = 0;
}

void
reservations_remove(Reservations *reservations, guint index)
{
    gboolean ends = pr_type_is_all_registrants(reservations->type)
                        ? reservations->n == 1
                        : reservations_is_holder(reservations, index);

    g_assert(index < reservations->n);

    if (ends)
        reservations_release(reservations);
    else if (reservations->holder > index)
        reservations->holder--;

    reservations->n--;
    memmove(&reservations->entries[index], &reservations->entries[index + 1],
            (reservations->n - index) * sizeof(Registration));
}

guint8
reservations_denied(const Reservations *reservations, const NexusName *nexus)
{
    const guint8 writes = 1 << PR_CONFLICT | 1 << PR_WRITE;
    gboolean is_registered;
    guint index = 0;

    if (reservations->is_reserved && !nexus_name_equal(&reservations->reserved_by, nexus))
        return writes | 1 << PR_READ | 1 << PR_STATUS;
    if (reservations->type == PR_TYPE_NONE)
        return 0;

    is_registered = reservations_find(reservations, nexus, &index);
    if (is_registered &&
        (pr_type_is_shared(reservations->type) || reservations_is_holder(reservations, index)))
        return 0;

    switch ((PrType)reservations->type) {
    case PR_TYPE_WRITE_EXCLUSIVE:
    case PR_TYPE_WRITE_EXCLUSIVE_RO:
    case PR_TYPE_WRITE_EXCLUSIVE_AR:
        return writes;
    case PR_TYPE_EXCLUSIVE_ACCESS:
    case PR_TYPE_EXCLUSIVE_ACCESS_RO:
    case PR_TYPE_EXCLUSIVE_ACCESS_AR:
        return writes | 1 << PR_READ;
    case PR_TYPE_NONE:
        break;
    }
    g_assert_not_reached();
}

/*
 * The stored form
 */

char *
reservations_format(const Reservations *reservations)
{
    GString *text;

    if (reservations->n == 0)
        return NULL;

    text = record_new(RECORD_KIND, RECORD_VERSION);
    g_string_append_printf(text, "generation %u\naptpl %u\ntype %u\nholder %u\n",
                           reservations->generation, reservations->aptpl ? 1U : 0U,
                           reservations->type, reservations->holder);
    for (guint i = 0; i < reservations->n; i++) {
        const Registration *registration = &reservations->entries[i];

        g_string_append_printf(text, "registration %016" G_GINT64_MODIFIER "x %u %s %08x\n",
                               registration->key, registration->nexus.port,
                               registration->nexus.name, registration->nexus.target);
    }
    return record_finish(text);
}

static gboolean
parse_registration(const char *line, Reservations *reservations)
{
    g_auto(GStrv) words = g_strsplit(line, " ", -1);
    guint n_words = g_strv_length(words);
    NexusName nexus = { 0 };
    guint64 key, port, target = 0;
    guint index;

    if ((n_words != 3 && n_words != 4) || strlen(words[0]) != 16 || words[2][0] == '\0' ||
        strlen(words[2]) > PORT_NAME_MAX ||
        !g_ascii_string_to_unsigned(words[0], 16, 1, G_MAXUINT64, &key, NULL) ||
        !g_ascii_string_to_unsigned(words[1], 10, 0, G_MAXUINT16, &port, NULL))
        return FALSE;
    if (n_words == 4 && !g_ascii_string_to_unsigned(words[3], 16, 0, G_MAXUINT32, &target, NULL))
        return FALSE;

    g_strlcpy(nexus.name, words[2], sizeof(nexus.name));
    nexus.port = (guint16)port;
    nexus.target = (guint32)target;
    return !reservations_find(reservations, &nexus, &index) &&
           reservations_add(reservations, &nexus, key);
}

static gboolean
parse_body(RecordReader *reader, Reservations *reservations)
{
    guint aptpl, type;

    if (!record_take_number(reader, "generation", G_MAXUINT32, &reservations->generation) ||
        !record_take_number(reader, "aptpl", 1, &aptpl) ||
        !record_take_number(reader, "type", PR_TYPE_EXCLUSIVE_ACCESS_AR, &type) ||
        !record_take_number(reader, "holder", REGISTRATIONS_MAX - 1, &reservations->holder))
        return FALSE;
    reservations->type = (guint8)type;

    while (record_is_at(reader, "registration")) {
        g_autofree char *line = record_take(reader, "registration");

        if (line == NULL || !parse_registration(line, reservations))
            return FALSE;
    }

    reservations->aptpl = aptpl == 1;
    return (type == PR_TYPE_NONE || pr_type_is_valid(reservations->type)) &&
           reservations->holder < reservations->n && record_is_at_end(reader);
}

Reservations *
reservations_parse(const char *text, gsize size, GError **ret_error)
{
    Reservations *reservations;
    RecordReader reader;

    if (!record_open(&reader, RECORD_KIND, RECORD_VERSION, text, size, NULL) &&
        !record_open(&reader, RECORD_KIND, 1, text, size, ret_error))
        return NULL;

    reservations = allocate(REGISTRATIONS_MAX);
    if (!parse_body(&reader, reservations)) {
        g_clear_pointer(&reservations, reservations_unref);
        (void)record_fail_form(RECORD_KIND, ret_error);
    }
    record_close(&reader);
    return reservations;
}
