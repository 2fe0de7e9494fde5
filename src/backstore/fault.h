/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "backstore/backstore.h"
#include "backstore/io.h"
#include "engine/mailbox.h"
#include "engine/snapshot.h"

/*
 * Faults: trouble of a store on purpose
 *
 * A rule says which requests it is about and what happens to them: an error, a
 * delay, or nothing at all until the rules are changed. The first rule that
 * strikes a request decides. For tests, and for administrators who want to see
 * what their initiators make of a bad disk.
 */

#define FAULT_RULES_MAX  16U
#define FAULT_KIND(kind) (1U << (kind))
#define FAULT_CERTAIN    ((guint64)1 << 32)

typedef struct {
    guint kinds;    /* FAULT_KIND() of each kind of request that it is about */
    int error;      /* errno that the request ends in; 0: it is carried out */
    gint64 delay;   /* µs before that; 0: none */
    gboolean stall; /* held until other rules are set; without @error and @delay */
    guint64 offset; /* requests that touch these bytes; a flush touches all */
    guint64 length; /* 0: up to the end */
    guint64 count;  /* how often it strikes; 0: always */
    guint64 chance; /* of FAULT_CERTAIN, that it strikes */
    guint64 seed;   /* of chance: the same seed makes the same sequence */
} FaultRule;

typedef struct FaultSet FaultSet;

/* @n_rules: 1 to FAULT_RULES_MAX */
FaultSet *fault_set_new(const FaultRule *rules, guint n_rules);
FaultSet *fault_set_ref(FaultSet *set);
void fault_set_unref(FaultSet *set); /* NULL is ignored */

G_DEFINE_AUTOPTR_CLEANUP_FUNC(FaultSet, fault_set_unref)

/* How many requests its rules have struck, in all stores; from any thread */
guint64 fault_set_n_struck(FaultSet *set);

typedef void (*FaultsSetFn)(gpointer user_data);

/* Rules for a store that no worker uses yet; a reference is taken. NULL: none. */
void backstore_begin_with_faults(Backstore *store, FaultSet *set);

/**
 * backstore_set_faults() - other rules, from any thread with a mailbox
 * @set: a reference is taken; NULL: none
 * @workers: all that use the store
 * @done: on the thread of @reply_to, when every worker goes by the new rules; or NULL
 *
 * Requests that the old rules hold go by the new ones. The store may be closed by what is sent to the
 * workers later.
 */
void backstore_set_faults(Backstore *store, FaultSet *set, Worker **workers, Mailbox *reply_to,
                          FaultsSetFn done, gpointer user_data);

/* The same for one worker, on its thread */
void backstore_take_faults(Backstore *store, const Worker *worker, FaultSet *set);
