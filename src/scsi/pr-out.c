/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * PERSISTENT RESERVE OUT
 *
 * The worker of the command receives the parameter list and judges its form.
 * What it asks for is decided at the home worker, where one request comes after
 * the other: each function below looks at the state that is in force and either
 * ends the request or makes the next state from it.
 *
 * The parameter list:
 *
 *     byte 0-7    RESERVATION KEY
 *     byte 8-15   SERVICE ACTION RESERVATION KEY
 *     byte 20     SPEC_I_PT, ALL_TG_PT, APTPL
 *     byte 24-    SPEC_I_PT: length of TransportIDs, TransportIDs
 *
 * REGISTER AND MOVE has UNREG and APTPL in byte 17, the relative target port in
 * bytes 18-19, the length in 20-23 and one TransportID. A TransportID may name an
 * initiator without its port: see pr-known.h.
 */

#include "scsi/handlers.h"
#include "scsi/lu-shard.h"
#include "scsi/pr-known.h"
#include "scsi/pr-request.h"
#include "scsi/transport-id.h"
#include "util/bytes.h"

#define LIST_LENGTH     24
#define LIST_LENGTH_MAX (LIST_LENGTH + 4 + 64 * TRANSPORT_ID_MAX)

#define SPEC_I_PT 0x08
#define ALL_TG_PT 0x04
#define APTPL     0x01

#define MOVE_UNREG 0x02
#define MOVE_APTPL 0x01

enum {
    ACTION_REGISTER = 0x00,
    ACTION_RESERVE = 0x01,
    ACTION_RELEASE = 0x02,
    ACTION_CLEAR = 0x03,
    ACTION_PREEMPT = 0x04,
    ACTION_PREEMPT_AND_ABORT = 0x05,
    ACTION_REGISTER_AND_IGNORE = 0x06,
    ACTION_REGISTER_AND_MOVE = 0x07,
};

static const guint8 *
list_of(const PrRequest *request)
{
    return request->command->data;
}

static guint64
key_of(const PrRequest *request)
{
    return get_be64(list_of(request));
}

static guint64
action_key_of(const PrRequest *request)
{
    return get_be64(list_of(request) + 8);
}

static guint8
action_of(const PrRequest *request)
{
    return request->command->cdb[1] & 0x1f;
}

static guint8
type_of(const PrRequest *request)
{
    return request->command->cdb[2] & 0x0f;
}

/*
 * REGISTER
 */

/* The target ports to which a registration applies */
typedef struct {
    const LuPort *ports; /* beside that of the request, or also that one */
    guint n;
} Ports;

static Ports
ports_of(const PrRequest *request)
{
    const Lu *lu = pr_lu(request);
    Ports ports = { .ports = NULL, .n = 0 };

    if ((list_of(request)[20] & ALL_TG_PT) && lu->n_ports > 0)
        ports = (Ports){ .ports = lu->ports, .n = lu->n_ports };
    return ports;
}

/* What the next state needs more room for, at most */
static guint
n_new(const PrRequest *request, guint n_initiators)
{
    guint64 most = (guint64)n_initiators * (ports_of(request).n + 1);

    return (guint)MIN(most, REGISTRATIONS_MAX);
}

/*
 * One nexus as if it had asked for itself: its registration is made, changed or
 * taken away. Others than the one that asks are passed over where they could
 * not have done so themselves.
 */
static gboolean
register_one(const PrRequest *request, Reservations *next, const NexusName *nexus)
{
    gboolean ignores = action_of(request) == ACTION_REGISTER_AND_IGNORE;
    guint64 key = key_of(request), new_key = action_key_of(request);
    guint i;

    if (!reservations_find(next, nexus, &i))
        return new_key == 0 || (!ignores && key != 0) || reservations_add(next, nexus, new_key);

    if (!ignores && next->entries[i].key != key)
        return TRUE;
    if (new_key == 0)
        reservations_remove(next, i);
    else
        next->entries[i].key = new_key;
    return TRUE;
}

/* @nexus on all ports that are meant, the one of the request first */
static gboolean
register_on_ports(const PrRequest *request, Reservations *next, const NexusName *nexus)
{
    Ports ports = ports_of(request);
    NexusName other = *nexus;

    if (!register_one(request, next, nexus))
        return FALSE;

    for (guint i = 0; i < ports.n; i++) {
        other.port = ports.ports[i].relative_port;
        other.target = ports.ports[i].target;
        if (!nexus_name_equal(&other, nexus) && !register_one(request, next, &other))
            return FALSE;
    }
    return TRUE;
}

/* Whether the registration is for this target port */
static gboolean
is_meant(const PrRequest *request, const NexusName *nexus)
{
    Ports ports = ports_of(request);

    if (nexus->port == request->nexus.port && nexus->target == request->nexus.target)
        return TRUE;
    for (guint i = 0; i < ports.n; i++) {
        if (nexus->port == ports.ports[i].relative_port && nexus->target == ports.ports[i].target)
            return TRUE;
    }
    return FALSE;
}

/* One that the list names, by the TransportID at @at: who is registered already is an error */
static gboolean
register_other(PrRequest *request, const Reservations *now, Reservations *next,
               const char *port_name, guint32 at)
{
    NexusName nexus = { .port = request->nexus.port, .target = request->nexus.target };
    guint i;

    g_strlcpy(nexus.name, port_name, sizeof(nexus.name));
    if (reservations_find(now, &nexus, &i)) {
        pr_fail_parameter(request, at, 7);
        return FALSE;
    }
    if (!register_on_ports(request, next, &nexus)) {
        pr_fail(request, SENSE_INSUFFICIENT_REGISTRATIONS);
        return FALSE;
    }
    return TRUE;
}

/* All ports of @initiator that are known; that there is none is an error too */
static gboolean
register_known(PrRequest *request, const Reservations *now, Reservations *next,
               const char *initiator, guint32 at)
{
    gboolean any = FALSE;

    for (guint i = 0; i < request->n_known; i++) {
        const NexusName *known = &request->known[i];

        if (!transport_id_is_port_of(known->name, initiator) || !is_meant(request, known))
            continue;
        any = TRUE;
        if (!register_other(request, now, next, known->name, at))
            return FALSE;
    }

    if (!any)
        pr_fail_parameter(request, at, 7);
    return any;
}

/* The initiators that SPEC_I_PT lists. The form was checked. */
static gboolean
register_listed(PrRequest *request, const Reservations *now, Reservations *next)
{
    const guint8 *list = list_of(request);
    guint32 end = LIST_LENGTH + 4 + get_be32(list + LIST_LENGTH);
    char name[PORT_NAME_MAX + 1];

    for (guint32 at = LIST_LENGTH + 4; at < end;) {
        guint byte;
        guint32 length = transport_id_parse(list + at, end - at, name, &byte);

        g_assert(length > 0);
        if (transport_id_is_initiator(list + at) ? !register_known(request, now, next, name, at)
                                                 : !register_other(request, now, next, name, at))
            return FALSE;
        at += length;
    }
    return TRUE;
}

/* More are not listed, and known */
static guint
n_listed(const PrRequest *request)
{
    const guint8 *list = list_of(request);

    return request->n_known + (list[20] & SPEC_I_PT ? get_be32(list + LIST_LENGTH) / (4 + 20) : 0);
}

/* A reservation that ends is told to those who had a part in it */
static SenseCode
attention_after(const Reservations *now, const Reservations *next)
{
    return pr_type_is_shared(now->type) && next->type == PR_TYPE_NONE ? SENSE_RESERVATIONS_RELEASED
                                                                      : SENSE_NONE;
}

static void
do_register(PrRequest *request, const Reservations *now)
{
    guint8 flags = list_of(request)[20];
    ReservationChange change = { .persist = TRUE };
    Reservations *next = reservations_copy(now, n_new(request, 1 + n_listed(request)));

    next->generation++;
    next->aptpl = (flags & APTPL) != 0;
    if (!register_on_ports(request, next, &request->nexus)) {
        reservations_unref(next);
        pr_fail(request, SENSE_INSUFFICIENT_REGISTRATIONS);
        return;
    }
    if ((flags & SPEC_I_PT) && !register_listed(request, now, next)) {
        reservations_unref(next);
        return;
    }

    change.next = next;
    change.to_kept = attention_after(now, next);
    pr_change(request, &change);
}

static void
decide_register(PrRequest *request, const Reservations *now)
{
    gboolean ignores = action_of(request) == ACTION_REGISTER_AND_IGNORE;
    guint8 flags = list_of(request)[20];
    guint i;

    if (reservations_find(now, &request->nexus, &i)) {
        if (!ignores && now->entries[i].key != key_of(request)) {
            pr_end(request, SCSI_RESERVATION_CONFLICT);
            return;
        }
        if (flags & SPEC_I_PT) {
            pr_fail_parameter(request, 20, 3);
            return;
        }
    } else {
        if (!ignores && key_of(request) != 0) {
            pr_end(request, SCSI_RESERVATION_CONFLICT);
            return;
        }
        if (action_key_of(request) == 0) {
            if (flags & SPEC_I_PT)
                pr_fail_parameter(request, 20, 3);
            else
                pr_end(request, SCSI_GOOD);
            return;
        }
    }

    do_register(request, now);
}

/*
 * RESERVE, RELEASE, CLEAR
 */

static void
decide_reserve(PrRequest *request, const Reservations *now, guint self)
{
    ReservationChange change = { .persist = TRUE };

    if (now->type != PR_TYPE_NONE) {
        gboolean is_same = reservations_is_holder(now, self) && now->type == type_of(request);

        pr_end(request, is_same ? SCSI_GOOD : SCSI_RESERVATION_CONFLICT);
        return;
    }

    change.next = reservations_copy(now, 0);
    change.next->type = type_of(request);
    change.next->holder = self;
    pr_change(request, &change);
}

static void
decide_release(PrRequest *request, const Reservations *now, guint self)
{
    ReservationChange change = { .persist = TRUE };

    if (!reservations_is_holder(now, self)) {
        pr_end(request, SCSI_GOOD);
        return;
    }
    if (now->type != type_of(request)) {
        pr_fail(request, SENSE_INVALID_RELEASE);
        return;
    }

    change.next = reservations_copy(now, 0);
    reservations_release(change.next);
    change.to_kept = attention_after(now, change.next);
    pr_change(request, &change);
}

static void
decide_clear(PrRequest *request, const Reservations *now)
{
    ReservationChange change = { .next = reservations_new(),
                                 .to_removed = SENSE_RESERVATIONS_PREEMPTED,
                                 .persist = TRUE };

    change.next->generation = now->generation + 1;
    change.next->aptpl = now->aptpl;
    pr_change(request, &change);
}

/*
 * PREEMPT
 */

/* Take away who has @key; zero stands for everybody. @keep: stays in any case, or nobody. */
static gboolean
remove_by_key(Reservations *next, guint64 key, const NexusName *keep)
{
    gboolean any = FALSE;

    for (guint i = next->n; i > 0; i--) {
        const Registration *registration = &next->entries[i - 1];

        if ((key != 0 && registration->key != key) ||
            (keep != NULL && nexus_name_equal(&registration->nexus, keep)))
            continue;
        reservations_remove(next, i - 1);
        any = TRUE;
    }
    return any;
}

/* Does the request take the reservation itself, not only registrations? */
static gboolean
preempts_reservation(const PrRequest *request, const Reservations *now)
{
    guint64 key = action_key_of(request);

    if (now->type == PR_TYPE_NONE)
        return FALSE;
    if (pr_type_is_all_registrants(now->type))
        return key == 0;
    return key == now->entries[now->holder].key;
}

static void
decide_preempt(PrRequest *request, const Reservations *now)
{
    guint64 key = action_key_of(request);
    gboolean takes = preempts_reservation(request, now);
    ReservationChange change = { .to_removed = SENSE_REGISTRATIONS_PREEMPTED,
                                 .abort = action_of(request) == ACTION_PREEMPT_AND_ABORT,
                                 .persist = TRUE };

    if (key == 0 && !takes) {
        pr_fail_parameter(request, 8, 7);
        return;
    }

    change.next = reservations_copy(now, 0);
    change.next->generation++;
    if (!remove_by_key(change.next, key, takes ? &request->nexus : NULL) && !takes) {
        reservations_unref(change.next);
        pr_end(request, SCSI_RESERVATION_CONFLICT);
        return;
    }

    if (takes) {
        guint self = 0;
        gboolean found = reservations_find(change.next, &request->nexus, &self);

        g_assert(found);
        change.next->type = type_of(request);
        change.next->holder = self;
        if (now->type != change.next->type)
            change.to_kept = SENSE_RESERVATIONS_RELEASED;
    } else {
        change.to_kept = attention_after(now, change.next);
    }
    pr_change(request, &change);
}

/*
 * REGISTER AND MOVE
 */

/* Which target's port it is: FALSE when there is no such port */
static gboolean
find_port(const PrRequest *request, const Reservations *now, NexusName *to)
{
    const Lu *lu = pr_lu(request);

    to->target = request->nexus.target;
    if (to->port == request->nexus.port)
        return TRUE;
    for (guint i = 0; i < lu->n_ports; i++) {
        if (lu->ports[i].relative_port == to->port && lu->ports[i].target == to->target)
            return TRUE;
    }
    for (guint i = 0; i < lu->n_ports; i++) {
        to->target = lu->ports[i].target;
        if (lu->ports[i].relative_port == to->port)
            return TRUE;
    }
    for (guint i = 0; i < now->n; i++) {
        to->target = now->entries[i].nexus.target;
        if (now->entries[i].nexus.port == to->port)
            return TRUE;
    }
    return FALSE;
}

/* Which initiator port it is */
static gboolean
find_initiator_port(const PrRequest *request, const Reservations *now, NexusName *to)
{
    const guint8 *list = list_of(request);
    char name[PORT_NAME_MAX + 1];
    guint byte;
    guint32 length = transport_id_parse(list + LIST_LENGTH, get_be32(list + 20), name, &byte);

    g_assert(length > 0);
    if (transport_id_is_initiator(list + LIST_LENGTH))
        return pr_known_one(request, now, name, to);

    g_strlcpy(to->name, name, sizeof(to->name));
    return TRUE;
}

/* TRUE when @request may move the reservation; otherwise it has ended */
static gboolean
check_move(PrRequest *request, const Reservations *now, guint self, NexusName *to)
{
    if (now->type == PR_TYPE_NONE) {
        pr_fail_cdb(request, 1, 4);
        return FALSE;
    }
    if (pr_type_is_all_registrants(now->type) || !reservations_is_holder(now, self)) {
        pr_end(request, SCSI_RESERVATION_CONFLICT);
        return FALSE;
    }
    if (action_key_of(request) == 0) {
        pr_fail_parameter(request, 8, 7);
        return FALSE;
    }
    if (!find_port(request, now, to)) {
        pr_fail_parameter(request, 18, 7);
        return FALSE;
    }
    if (!find_initiator_port(request, now, to) || nexus_name_equal(to, &request->nexus)) {
        pr_fail_parameter(request, 24, 7);
        return FALSE;
    }
    return TRUE;
}

static void
decide_move(PrRequest *request, const Reservations *now, guint self)
{
    const guint8 *list = list_of(request);
    ReservationChange change = { .persist = TRUE };
    NexusName to = { .port = get_be16(list + 18) };
    guint i;

    if (!check_move(request, now, self, &to))
        return;

    change.next = reservations_copy(now, 1);
    change.next->generation++;
    change.next->aptpl = (list[17] & MOVE_APTPL) != 0;
    if (!reservations_find(now, &to, &i)) {
        i = change.next->n;
        if (!reservations_add(change.next, &to, action_key_of(request))) {
            reservations_unref(change.next);
            pr_fail(request, SENSE_INSUFFICIENT_REGISTRATIONS);
            return;
        }
    }

    change.next->entries[i].key = action_key_of(request);
    change.next->holder = i;
    if (list[17] & MOVE_UNREG)
        reservations_remove(change.next, self);
    pr_change(request, &change);
}

/*
 * All
 */

/* The service actions that only a registered nexus may ask for, with its key */
static void
decide_registered(PrRequest *request, const Reservations *now, guint self)
{
    switch (action_of(request)) {
    case ACTION_RESERVE:
        decide_reserve(request, now, self);
        return;
    case ACTION_RELEASE:
        decide_release(request, now, self);
        return;
    case ACTION_CLEAR:
        decide_clear(request, now);
        return;
    case ACTION_PREEMPT:
    case ACTION_PREEMPT_AND_ABORT:
        decide_preempt(request, now);
        return;
    case ACTION_REGISTER_AND_MOVE:
        decide_move(request, now, self);
        return;
    default:
        g_assert_not_reached();
    }
}

static void
decide_with(PrRequest *request, const Reservations *now)
{
    guint8 action = action_of(request);
    guint self = 0;

    /* Everybody, the one who has it too (SPC-2) */
    if (now->is_reserved) {
        pr_end(request, SCSI_RESERVATION_CONFLICT);
        return;
    }
    if (action == ACTION_REGISTER || action == ACTION_REGISTER_AND_IGNORE) {
        decide_register(request, now);
        return;
    }
    if (!reservations_find(now, &request->nexus, &self) ||
        now->entries[self].key != key_of(request)) {
        pr_end(request, SCSI_RESERVATION_CONFLICT);
        return;
    }

    decide_registered(request, now, self);
}

/* The same with the state of now, which nobody else changes while ports are looked for */
static void
on_found(PrRequest *request)
{
    decide_with(request, pr_lu(request)->reservations);
}

static void
decide(PrRequest *request, const Reservations *now)
{
    const guint8 *list = list_of(request);
    guint8 action = action_of(request);

    if (action == ACTION_REGISTER && (list[20] & SPEC_I_PT) != 0)
        pr_known_find(request, list + LIST_LENGTH + 4, get_be32(list + LIST_LENGTH), on_found);
    else if (action == ACTION_REGISTER_AND_MOVE)
        pr_known_find(request, list + LIST_LENGTH, get_be32(list + 20), on_found);
    else
        decide_with(request, now);
}

/*
 * On the worker of the command: the form
 */

/* TransportIDs from @start to @end; FALSE when it failed the command */
static gboolean
check_transport_ids(ScsiCommand *command, guint32 start, guint32 end)
{
    char name[PORT_NAME_MAX + 1];

    for (guint32 at = start; at < end;) {
        guint byte;
        guint32 length = transport_id_parse(command->data + at, end - at, name, &byte);

        if (length == 0) {
            scsi_command_fail_parameter(command, at + byte, 7);
            return FALSE;
        }
        at += length;
    }
    return TRUE;
}

static gboolean
check_aptpl(ScsiCommand *command, guint byte)
{
    if (!(command->data[byte] & APTPL) || scsi_command_lu(command)->can_keep)
        return TRUE;

    scsi_command_fail_parameter(command, byte, 0);
    return FALSE;
}

static gboolean
check_move_list(ScsiCommand *command)
{
    guint32 length = get_be32(command->data + 20);

    if (length == 0 || length > command->data_length - LIST_LENGTH) {
        scsi_command_fail(command, SENSE_PARAMETER_LIST_LENGTH);
        return FALSE;
    }
    if (!check_aptpl(command, 17) ||
        !check_transport_ids(command, LIST_LENGTH, LIST_LENGTH + length))
        return FALSE;
    if (get_be16(command->data + LIST_LENGTH + 2) == length - 4)
        return TRUE;

    /* More than one */
    scsi_command_fail_parameter(command, 20, 7);
    return FALSE;
}

static gboolean
check_register_list(ScsiCommand *command)
{
    guint8 action = command->cdb[1] & 0x1f;
    guint32 length;

    if (!check_aptpl(command, 20))
        return FALSE;
    if (!(command->data[20] & SPEC_I_PT)) {
        if (command->data_length == LIST_LENGTH)
            return TRUE;
        scsi_command_fail(command, SENSE_PARAMETER_LIST_LENGTH);
        return FALSE;
    }
    if (action != ACTION_REGISTER) {
        scsi_command_fail_parameter(command, 20, 3);
        return FALSE;
    }

    length = command->data_length >= LIST_LENGTH + 4 ? get_be32(command->data + LIST_LENGTH) : 0;
    if (command->data_length < LIST_LENGTH + 4 || length > command->data_length - LIST_LENGTH - 4) {
        scsi_command_fail(command, SENSE_PARAMETER_LIST_LENGTH);
        return FALSE;
    }
    return check_transport_ids(command, LIST_LENGTH + 4, LIST_LENGTH + 4 + length);
}

static gboolean
check_list(ScsiCommand *command)
{
    switch (command->cdb[1] & 0x1f) {
    case ACTION_REGISTER:
    case ACTION_REGISTER_AND_IGNORE:
        return check_register_list(command);
    case ACTION_REGISTER_AND_MOVE:
        return check_move_list(command);
    default:
        if (command->data_length == LIST_LENGTH)
            return TRUE;
        scsi_command_fail(command, SENSE_PARAMETER_LIST_LENGTH);
        return FALSE;
    }
}

static void
on_list(ScsiCommand *command)
{
    command->done_bytes = command->data_length;
    if (check_list(command))
        pr_request_send(command, decide);
}

/* SCOPE and TYPE, where they mean something */
static gboolean
check_scope(ScsiCommand *command)
{
    guint8 action = command->cdb[1] & 0x1f;

    if (action != ACTION_RESERVE && action != ACTION_RELEASE && action != ACTION_PREEMPT &&
        action != ACTION_PREEMPT_AND_ABORT)
        return TRUE;

    if ((command->cdb[2] & 0xf0) != 0) {
        scsi_command_fail_field(command, 2, 7);
        return FALSE;
    }
    if (!pr_type_is_valid(command->cdb[2] & 0x0f)) {
        scsi_command_fail_field(command, 2, 3);
        return FALSE;
    }
    return TRUE;
}

void
pr_out(ScsiCommand *command)
{
    guint64 length = MIN(command->data_out_length, command->expected_out);

    if (!check_scope(command))
        return;
    if (length < LIST_LENGTH) {
        scsi_command_fail(command, SENSE_PARAMETER_LIST_LENGTH);
        return;
    }
    if (command->data_out_length > LIST_LENGTH_MAX) {
        scsi_command_fail_field(command, command->op->length.offset, 7);
        return;
    }

    if (scsi_command_take_buffer(command, length, pr_out))
        scsi_command_receive(command, (guint32)length, on_list);
}
