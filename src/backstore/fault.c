/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Faults
 *
 * The wrapper asks here before it hands a request to the store, if there are
 * rules at all: without any a request pays for one compare with NULL.
 *
 * The rules are a snapshot. Each lane has its own reference and gets another
 * set by message, so a request sees either the old rules or the new ones. What
 * all workers share are two counters of each rule, which are atomic: "fail
 * three times" means three times, wherever the requests come from and also
 * when the store is opened anew in between, and the n-th request that meets a
 * rule is struck or spared by (seed, n) alone, so a test can repeat it.
 *
 * A request that is held is the worker's like any other that the store has
 * begun: an abort waits for it, and so does all that waits for I/O. It lies in
 * a list of the lane and has a timer, which for a stall is not set. When the
 * rules change all of them go by the new ones; as none was handed to the
 * store yet, those that no rule strikes any more are carried out.
 */

#include "backstore/fault.h"

#include "backstore/class.h"

typedef struct {
    FaultRule rule;
    guint64 n_met;    /* atomic: requests that the rule is about */
    guint64 n_struck; /* atomic: those that chance chose, also beyond the count */
} FaultEntry;

struct FaultSet {
    Snapshot snapshot;
    guint n_entries;
    FaultEntry entries[];
};

static void
set_free(Snapshot *snapshot)
{
    g_free(list_entry(snapshot, FaultSet, snapshot));
}

FaultSet *
fault_set_new(const FaultRule *rules, guint n_rules)
{
    FaultSet *set = g_malloc0(sizeof(FaultSet) + n_rules * sizeof(FaultEntry));

    g_assert(n_rules > 0 && n_rules <= FAULT_RULES_MAX);

    snapshot_init(&set->snapshot, set_free);
    set->n_entries = n_rules;
    for (guint i = 0; i < n_rules; i++)
        set->entries[i].rule = rules[i];
    return set;
}

FaultSet *
fault_set_ref(FaultSet *set)
{
    (void)snapshot_ref(&set->snapshot);
    return set;
}

void
fault_set_unref(FaultSet *set)
{
    if (set != NULL)
        snapshot_unref(&set->snapshot);
}

/*
 * Which rule
 */

static gboolean
is_about(const FaultRule *rule, const Io *io)
{
    IoKind kind = io->kind;
    guint64 end = rule->length != 0 ? rule->offset + rule->length : G_MAXUINT64;

    /* A part of a request that the wrapper carries out piece by piece counts as what was asked for */
    if (io->emulation.is_active && kind != IO_FLUSH)
        kind = io->emulation.kind;
    if (!(rule->kinds & FAULT_KIND(kind)))
        return FALSE;
    return kind == IO_FLUSH ||
           (io->length > 0 && io->offset < end && io->offset + io->length > rule->offset);
}

/* The output function of SplitMix64 by Steele, Lea and Flood: well mixed for numbers in a row */
static guint64
mix(guint64 n)
{
    n += G_GUINT64_CONSTANT(0x9e3779b97f4a7c15);
    n = (n ^ n >> 30) * G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
    n = (n ^ n >> 27) * G_GUINT64_CONSTANT(0x94d049bb133111eb);
    return n ^ n >> 31;
}

static gboolean
strikes(FaultEntry *entry)
{
    const FaultRule *rule = &entry->rule;
    guint64 n = __atomic_fetch_add(&entry->n_met, 1, __ATOMIC_RELAXED);

    if (mix(mix(rule->seed) + n) >> 32 >= rule->chance)
        return FALSE;
    n = __atomic_fetch_add(&entry->n_struck, 1, __ATOMIC_RELAXED);
    return rule->count == 0 || n < rule->count;
}

guint64
fault_set_n_struck(FaultSet *set)
{
    guint64 n = 0;

    for (guint i = 0; i < set->n_entries; i++) {
        guint64 struck = __atomic_load_n(&set->entries[i].n_struck, __ATOMIC_RELAXED);
        guint64 count = set->entries[i].rule.count;

        n += count == 0 ? struck : MIN(struck, count);
    }
    return n;
}

static const FaultRule *
find_rule(FaultSet *set, const Io *io)
{
    for (guint i = 0; i < set->n_entries; i++) {
        FaultEntry *entry = &set->entries[i];

        if (is_about(&entry->rule, io) && strikes(entry))
            return &entry->rule;
    }
    return NULL;
}

/*
 * What happens
 */

static void
on_delay_over(Timer *timer)
{
    Io *io = list_entry(timer, Io, fault.timer);

    list_unlink(&io->link);
    if (io->fault.error != 0)
        backstore_io_fail(io, -io->fault.error);
    else
        backstore_io_go_on(io);
}

gboolean
fault_intercept(Io *io)
{
    BackstoreLane *lane = io_lane(io);
    const FaultRule *rule = find_rule(lane->faults, io);

    if (rule == NULL)
        return FALSE;

    if (!rule->stall && rule->delay == 0) {
        backstore_io_fail(io, -rule->error);
        return TRUE;
    }

    io->fault.error = rule->error;
    list_init(&io->link);
    list_append(&lane->held, &io->link);
    timer_init(&io->fault.timer, on_delay_over);
    if (!rule->stall)
        timer_set(&io->fault.timer, &io->worker->loop, worker_now(io->worker) + rule->delay);
    return TRUE;
}

/*
 * Other rules
 */

typedef struct FaultChange FaultChange;

/* To one worker and back */
typedef struct {
    Message message;
    FaultChange *change;
    Worker *worker;
} FaultErrand;

struct FaultChange {
    Backstore *store;
    FaultSet *set;
    Mailbox *reply_to;
    FaultsSetFn done;
    gpointer user_data;
    guint n_left;
    FaultErrand errands[];
};

static void
lane_set(BackstoreLane *lane, FaultSet *set)
{
    fault_set_unref(lane->faults);
    lane->faults = set != NULL ? fault_set_ref(set) : NULL;
}

void
backstore_begin_with_faults(Backstore *store, FaultSet *set)
{
    for (guint i = 0; i < store->n_workers; i++)
        lane_set(&store->lanes[i], set);
}

void
backstore_take_faults(Backstore *store, const Worker *worker, FaultSet *set)
{
    BackstoreLane *lane = &store->lanes[worker->index];
    List held;
    ListLink *link;

    lane_set(lane, set);
    list_init(&held);
    list_splice(&held, &lane->held);
    while ((link = list_pop(&held)) != NULL) {
        Io *io = list_entry(link, Io, link);

        timer_cancel(&io->fault.timer);
        if (lane->faults == NULL || !fault_intercept(io))
            backstore_io_go_on(io);
    }
}

void
fault_lane_deinit(BackstoreLane *lane)
{
    g_assert(list_is_empty(&lane->held));
    lane_set(lane, NULL);
}

/* Back on the thread that asked */
static void
on_taken(Message *message)
{
    FaultChange *change = list_entry(message, FaultErrand, message)->change;

    if (--change->n_left > 0)
        return;
    if (change->done != NULL)
        change->done(change->user_data);
    fault_set_unref(change->set);
    g_free(change);
}

/* On a worker */
static void
on_take(Message *message)
{
    FaultErrand *errand = list_entry(message, FaultErrand, message);
    FaultChange *change = errand->change;

    backstore_take_faults(change->store, errand->worker, change->set);
    mailbox_send(change->reply_to, message, on_taken);
}

void
backstore_set_faults(Backstore *store, FaultSet *set, Worker **workers, Mailbox *reply_to,
                     FaultsSetFn done, gpointer user_data)
{
    guint n = store->n_workers;
    FaultChange *change = g_malloc0(sizeof(FaultChange) + n * sizeof(FaultErrand));

    change->store = store;
    change->set = set != NULL ? fault_set_ref(set) : NULL;
    change->reply_to = reply_to;
    change->done = done;
    change->user_data = user_data;
    change->n_left = n;
    for (guint i = 0; i < n; i++) {
        change->errands[i].change = change;
        change->errands[i].worker = workers[i];
        worker_send(workers[i], &change->errands[i].message, on_take);
    }
}
