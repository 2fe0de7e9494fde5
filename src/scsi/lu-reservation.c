/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * How a new state of the reservations comes into force
 *
 *   requester          home worker                control    every worker (home too)
 *   LuReset   ------>  queue (see lu-reset.c)
 *                      decide, make the new state
 *                      PERSIST_PR      -------->  store
 *                      PR_PERSISTED    <--------
 *                      LU_CHANGE       -------------------->  take the new state, raise unit
 *                                                             attentions, abort; wait for I/O
 *                                                             that the new state refuses
 *                      count           <--------------------  LU_CHANGED
 *   done      <------  next one
 *
 * A worker with a new state refuses at two places: at the gate, and before each
 * request to the backstore of a command that passed the gate under the old one.
 * So what LU_CHANGED waits for is only I/O in flight, and no worker can start
 * new I/O that it would have to wait for. Commands that are themselves on an
 * errand to the home worker are not waited for: they stand behind this change
 * in its queue, and it decides anew when their turn comes. (But for an erasing
 * that is being begun: it begins all the same.)
 *
 * A change that aborts counts as an abort for requests that are under way:
 * they come back stale and are sent again when their command lives.
 *
 * What a nexus has by RESERVE ends with the nexus, when the last command that
 * runs for it has. It leaves a request at the home worker, and nexus_leave()
 * tells the session when all of them are done.
 */

#include <string.h>

#include "scsi/lu-shard.h"
#include "scsi/operation.h"
#include "scsi/range-lock.h"
#include "scsi/reservation.h"
#include "scsi/sibling.h"
#include "util/crc32c.h"

/*
 * On every worker
 */

static void
lun_update(NexusLun *nexus_lun)
{
    const Reservations *reservations = nexus_lun->shard->reservations;
    NexusName name;

    nexus_lun->denied = 0;
    nexus_lun->holds_reserve = FALSE;
    if (reservations->type == PR_TYPE_NONE && !reservations->is_reserved)
        return;

    nexus_name_init(&name, nexus_lun->nexus);
    nexus_lun->denied = reservations_denied(reservations, &name);
    nexus_lun->holds_reserve =
        reservations->is_reserved && nexus_name_equal(&reservations->reserved_by, &name);
}

void
reservation_lun_init(NexusLun *nexus_lun)
{
    lun_update(nexus_lun);
}

static void
shard_set(LuShard *shard, Reservations *reservations)
{
    reservations_unref(shard->reservations);
    (void)snapshot_ref(&reservations->snapshot);
    shard->reservations = reservations;

    list_foreach(link, &shard->nexus_luns)
        lun_update(list_entry(link, NexusLun, shard_link));
}

/* What the standards allow in spite of a reservation, by what the CDB asks for */
static gboolean
is_excused(const ScsiCommand *command)
{
    const guint8 *cdb = command->cdb;

    switch (cdb[0]) {
    case 0x1b: /* START STOP UNIT that starts */
        return (cdb[4] & 0xf1) == 0x01;
    case 0x1e: /* PREVENT ALLOW MEDIUM REMOVAL that allows */
        return (cdb[4] & 0x03) == 0;
    default:
        return FALSE;
    }
}

gboolean
reservation_refuses(const ScsiCommand *command)
{
    return (command->nexus_lun->denied & 1U << command->op->pr_class) != 0 && !is_excused(command);
}

gboolean
reservation_refuses_at_home(const ScsiCommand *command)
{
    const Reservations *reservations = command->nexus_lun->lu->reservations;
    NexusName name;

    nexus_name_init(&name, command->nexus);
    return (reservations_denied(reservations, &name) & 1U << command->op->pr_class) != 0 &&
           !is_excused(command);
}

static gboolean
is_errand(const ScsiCommand *command)
{
    return command->is_at_home && command->io_end == 0;
}

/* It may still have an effect. Those on an errand to the home worker have none; a copy has, whose own
 * commands write, and one that the control thread is about to carry out. */
static gboolean
is_aborted_work(const ScsiCommand *command)
{
    return command->aborted &&
           (!is_errand(command) || command->on_abort != NULL || command->is_at_control);
}

/* Commands in flight that the state in force refuses, or that it aborted */
static gboolean
has_pending(const LuShard *shard)
{
    gboolean aborts = shard->lu->change.abort;

    list_foreach(link, &shard->nexus_luns) {
        const NexusLun *nexus_lun = list_entry(link, NexusLun, shard_link);

        if (nexus_lun->denied == 0 && !aborts)
            continue;
        list_foreach(iter, &nexus_lun->tasks) {
            const ScsiCommand *command = list_entry(iter, ScsiCommand, link);

            if (command->state == SCSI_STATE_IO &&
                ((aborts && is_aborted_work(command)) ||
                 (!is_errand(command) && reservation_refuses(command))))
                return TRUE;
        }
    }

    return FALSE;
}

static void on_lu_changed(Message *message);

void
reservation_io_ended(LuShard *shard)
{
    if (!shard->change_waits || has_pending(shard))
        return;

    shard->change_waits = FALSE;
    shard->n_conflicts--;
    lu_answer_home(shard, on_lu_changed);
}

/* What the change means for a nexus: a unit attention or SENSE_NONE, and whether it lost its
 * registration */
static SenseCode
judge(const ReservationChange *change, const Reservations *old, const Nexus *nexus,
      gboolean *ret_removed)
{
    NexusName name;
    guint i;

    *ret_removed = FALSE;
    nexus_name_init(&name, nexus);
    if (!reservations_find(old, &name, &i) ||
        (change->cause != NULL && nexus_name_equal(change->cause, &name)))
        return SENSE_NONE;

    *ret_removed = !reservations_find(change->next, &name, &i);
    return *ret_removed ? change->to_removed : change->to_kept;
}

static void
raise_all(LuShard *shard, const Reservations *old)
{
    const ReservationChange *change = &shard->lu->change;

    if (change->to_removed == SENSE_NONE && change->to_kept == SENSE_NONE && !change->abort)
        return;

    list_foreach(link, &shard->nexus_luns) {
        NexusLun *nexus_lun = list_entry(link, NexusLun, shard_link);
        SenseCode code = judge(change, old, nexus_lun->nexus, &nexus_lun->is_preempted);

        if (code != SENSE_NONE)
            unit_attention_raise(&nexus_lun->attentions, code);
    }
}

static ScsiCommand *
find_preempted(LuShard *shard)
{
    list_foreach(link, &shard->nexus_luns) {
        NexusLun *nexus_lun = list_entry(link, NexusLun, shard_link);
        ScsiCommand *command = nexus_lun->is_preempted ? nexus_lun_find_live(nexus_lun) : NULL;

        if (command != NULL)
            return command;
    }

    return NULL;
}

static void
abort_preempted(LuShard *shard)
{
    ScsiCommand *command;

    shard->abort_generation++;

    /* From the start each time: a transport may take its nexus away when a command ends */
    while ((command = find_preempted(shard)) != NULL)
        scsi_command_abort_by_other(command);
}

/* Shard: LU_CHANGE. Home changes neither the state nor the change before all have answered. */
static void
on_lu_change(Message *message)
{
    LuShard *shard = list_entry(message, LuShard, reset_message);
    const ReservationChange *change = &shard->lu->change;

    raise_all(shard, shard->reservations);
    shard_set(shard, change->next);
    if (change->abort)
        abort_preempted(shard);

    if (has_pending(shard)) {
        shard->change_waits = TRUE;
        shard->n_conflicts++;
        return;
    }
    lu_answer_home(shard, on_lu_changed);
}

void
reservation_shard_take(LuShard *shard)
{
    if (shard->lu->change.next != NULL)
        shard_set(shard, shard->lu->change.next);
}

/*
 * Home
 */

static void
adopt(Lu *lu)
{
    reservations_unref(lu->reservations);
    lu->reservations = g_steal_pointer(&lu->change.next);
}

static void
change_end(Lu *lu, gboolean success)
{
    void (*done)(Lu *, gboolean) = lu->change.done;

    lu->change = (ReservationChange){ 0 };
    done(lu, success);
}

/* LU_CHANGED */
static void
on_lu_changed(Message *message)
{
    Lu *lu = list_entry(message, LuShard, reset_message)->lu;

    if (!lu_count_answer(lu))
        return;

    adopt(lu);
    change_end(lu, TRUE);
}

static void
tell_all(Lu *lu)
{
    lu_broadcast(lu, on_lu_change);
    if (lu->change.abort)
        lu_return_stale(lu);
}

/* PR_PERSISTED */
static void
on_persisted(Message *message)
{
    LuPersist *persist = list_entry(message, LuPersist, message);
    Lu *lu = persist->lu;

    g_clear_pointer(&persist->text, g_free);
    if (persist->success) {
        tell_all(lu);
        return;
    }

    reservations_unref(g_steal_pointer(&lu->change.next));
    change_end(lu, FALSE);
}

void
reservation_change(Lu *lu, const ReservationChange *change)
{
    gboolean is_stored = lu->persist.fn != NULL && change->persist;

    g_assert(lu->change.next == NULL);
    lu->change = *change;

    if (!is_stored) {
        tell_all(lu);
        return;
    }

    lu->persist.text = reservations_format(change->next);
    lu->persist.keep = change->next->aptpl && change->next->n > 0;
    lu_persist_send(&lu->persist);
}

void
reservation_reset(Lu *lu)
{
    if (!lu->reservations->is_reserved)
        return;

    lu->change.next = reservations_copy(lu->reservations, 0);
    lu->change.next->is_reserved = FALSE;
}

void
reservation_reset_done(Lu *lu)
{
    if (lu->change.next != NULL)
        adopt(lu);
}

/*
 * A nexus leaves
 */

typedef struct {
    LuReset reset;
    Worker *worker;
    NexusName name;
    Nexus *nexus; /* NULL: nobody waits */
} Leave;

static void
on_left(LuReset *reset)
{
    Leave *leave = list_entry(reset, Leave, reset);
    LuShard *shard = lu_shard(reset->lu, leave->worker);
    Nexus *nexus = leave->nexus;

    g_free(leave);
    shard->n_requests--;
    lu_shard_check_released(shard);
    if (nexus != NULL && --nexus->n_leaves == 0)
        nexus->left(nexus->left_data);
}

static void
on_leave_changed(Lu *lu, gboolean success)
{
    (void)success; /* nothing of this is stored */
    lu_manage_end(lu);
}

/* Home */
static void
leave_run(LuReset *reset)
{
    const Leave *leave = list_entry(reset, Leave, reset);
    Lu *lu = reset->lu;
    ReservationChange change = { .done = on_leave_changed };

    if (!lu->reservations->is_reserved ||
        !nexus_name_equal(&lu->reservations->reserved_by, &leave->name)) {
        lu_manage_end(lu);
        return;
    }

    change.next = reservations_copy(lu->reservations, 0);
    change.next->is_reserved = FALSE;
    reservation_change(lu, &change);
}

/* Allocates: it happens when a session ends or a unit is taken away, and only for holders */
static void
leave_start(NexusLun *nexus_lun, Nexus *waiting)
{
    Leave *leave = g_new0(Leave, 1);

    nexus_lun->holds_reserve = FALSE;
    nexus_lun->shard->n_requests++;
    leave->worker = nexus_lun->shard->worker;
    leave->nexus = waiting;
    nexus_name_init(&leave->name, nexus_lun->nexus);
    leave->reset.lu = nexus_lun->lu;
    leave->reset.run = leave_run;
    leave->reset.done = on_left;
    leave->reset.reply_to = &leave->worker->inbox;
    lu_reset_start(&leave->reset);
}

void
reservation_lun_deinit(NexusLun *nexus_lun)
{
    if (nexus_lun->holds_reserve && !nexus_is_sibling(nexus_lun->nexus))
        leave_start(nexus_lun, NULL);
}

/* TRUE: there was nothing to give back */
static gboolean
give_reservations_back(Nexus *nexus)
{
    for (guint i = 0; i < nexus->map->n_entries; i++) {
        NexusLun *nexus_lun = nexus->luns[i];

        if (nexus_lun->holds_reserve) {
            nexus->n_leaves++;
            leave_start(nexus_lun, nexus);
        }
    }

    return nexus->n_leaves == 0;
}

void
nexus_on_commands_ended(Deferred *deferred)
{
    Nexus *nexus = list_entry(deferred, Nexus, commands_ended);

    nexus->awaits_commands = FALSE;
    if (give_reservations_back(nexus))
        nexus->left(nexus->left_data);
}

/* What goes on in the background are commands of our own, of which the transport knows nothing */
gboolean
nexus_leave(Nexus *nexus, void (*left)(gpointer user_data), gpointer user_data)
{
    g_assert(nexus->n_leaves == 0 && !nexus->awaits_commands);

    nexus->left = left;
    nexus->left_data = user_data;
    if (nexus->n_commands == 0)
        return give_reservations_back(nexus);

    nexus->awaits_commands = TRUE;
    nexus_abort_all(nexus);
    return FALSE;
}

/*
 * For the control thread
 */

typedef struct {
    LuReset reset;
    LuReservation info;
    LuReservationFn got;
    LuClearedFn cleared;
    gboolean success;
    gpointer user_data;
} AdminRequest;

static AdminRequest *
admin_new(Lu *lu, Mailbox *reply_to, gpointer user_data)
{
    AdminRequest *admin = g_new0(AdminRequest, 1);

    admin->reset.lu = lu;
    admin->reset.reply_to = reply_to;
    admin->user_data = user_data;
    return admin;
}

static void
describe(const Reservations *from, LuReservation *info)
{
    info->generation = from->generation;
    info->type = from->type;
    info->aptpl = from->aptpl;
    info->reserved_by = from->is_reserved ? g_strdup(from->reserved_by.name) : NULL;
    info->n_registrations = from->n;
    info->registrations = g_new0(LuRegistration, from->n);
    for (guint i = 0; i < from->n; i++) {
        LuRegistration *registration = &info->registrations[i];

        registration->initiator_port = g_strdup(from->entries[i].nexus.name);
        registration->relative_target_port = from->entries[i].nexus.port;
        registration->key = from->entries[i].key;
        registration->is_holder = reservations_is_holder(from, i);
    }
}

static void
on_got(LuReset *reset)
{
    AdminRequest *admin = list_entry(reset, AdminRequest, reset);
    LuReservation *info = &admin->info;

    admin->got(reset->lu, info, admin->user_data);
    for (guint i = 0; i < info->n_registrations; i++)
        g_free(info->registrations[i].initiator_port);
    g_free(info->registrations);
    g_free(info->reserved_by);
    g_free(admin);
}

static void
get_run(LuReset *reset)
{
    describe(reset->lu->reservations, &list_entry(reset, AdminRequest, reset)->info);
    lu_manage_end(reset->lu);
}

void
lu_get_reservation(Lu *lu, Mailbox *reply_to, LuReservationFn done, gpointer user_data)
{
    AdminRequest *admin = admin_new(lu, reply_to, user_data);

    admin->got = done;
    admin->reset.run = get_run;
    admin->reset.done = on_got;
    lu_reset_start(&admin->reset);
}

static void
on_cleared(LuReset *reset)
{
    AdminRequest *admin = list_entry(reset, AdminRequest, reset);

    admin->cleared(reset->lu, admin->success, admin->user_data);
    g_free(admin);
}

static void
on_clear_changed(Lu *lu, gboolean success)
{
    ListLink *link = list_first(&lu->resets);

    g_assert(link != NULL);
    list_entry(link, AdminRequest, reset.link)->success = success;
    lu_manage_end(lu);
}

static void
clear_run(LuReset *reset)
{
    Lu *lu = reset->lu;
    ReservationChange change = { .next = reservations_new(),
                                 .to_removed = SENSE_RESERVATIONS_PREEMPTED,
                                 .persist = TRUE,
                                 .done = on_clear_changed };

    change.next->generation = lu->reservations->generation + 1;
    reservation_change(lu, &change);
}

void
lu_clear_reservations(Lu *lu, Mailbox *reply_to, LuClearedFn done, gpointer user_data)
{
    AdminRequest *admin = admin_new(lu, reply_to, user_data);

    admin->cleared = done;
    admin->reset.run = clear_run;
    admin->reset.done = on_cleared;
    lu_reset_start(&admin->reset);
}

typedef struct {
    Message message;
    Lu *lu;
    guint n_ports;
    LuPort ports[];
} PortsMessage;

/* Home */
static void
on_ports(Message *message)
{
    PortsMessage *ports = list_entry(message, PortsMessage, message);
    Lu *lu = ports->lu;

    g_free(lu->ports);
    lu->n_ports = ports->n_ports;
    lu->ports = g_memdup2(ports->ports, ports->n_ports * sizeof(LuPort));
    g_free(ports);
}

void
lu_set_target_ports(Lu *lu, const LuPort *ports, guint n_ports)
{
    PortsMessage *request = g_malloc0(sizeof(*request) + n_ports * sizeof(LuPort));

    request->lu = lu;
    request->n_ports = n_ports;
    if (n_ports > 0)
        memcpy(request->ports, ports, n_ports * sizeof(LuPort));
    worker_send(lu->workers[lu->home], &request->message, on_ports);
}

guint32
lu_target_id(const char *target_name)
{
    guint32 id = crc32c_final(crc32c_update(CRC32C_INIT, target_name, strlen(target_name)));

    return MAX(id, 1);
}

gboolean
lu_check_reservations(const char *text, gsize size, GError **ret_error)
{
    Reservations *reservations = reservations_parse(text, size, ret_error);
    gboolean is_right = reservations != NULL;

    reservations_unref(reservations);
    return is_right;
}

/*
 * Life
 */

void
reservation_lu_init(Lu *lu, const LuConfig *config)
{
    if (config->reservations != NULL)
        lu->reservations =
            reservations_parse(config->reservations, config->reservations_size, NULL);
    if (lu->reservations == NULL)
        lu->reservations = reservations_new();
    if (config->is_power_on)
        lu->reservations->generation = 0;

    lu_persist_init(&lu->persist, lu, config, config->persist, on_persisted);
    lu->can_keep = config->can_keep;

    for (guint i = 0; i < lu->n_workers; i++)
        shard_set(&lu->shards[i], lu->reservations);
}

void
reservation_lu_deinit(Lu *lu)
{
    for (guint i = 0; i < lu->n_workers; i++)
        reservations_unref(lu->shards[i].reservations);
    reservations_unref(lu->reservations);
    g_free(lu->ports);
}
