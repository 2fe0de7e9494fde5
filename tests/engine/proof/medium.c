/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The medium and its referee
 *
 * Blocks count who is writing them and how often an atomic command added one.
 * Every effect of a command passes here when it begins and when it ends, and
 * must then be allowed:
 *
 * - under an exclusive effect nobody else is in the range, and the other way
 *   round; additions, which are made in two steps, are never lost;
 * - a command born before a reset began has no effect once all TASKS_ABORTED
 *   are in;
 * - once a preemption was answered only its holder writes;
 * - two sessions of one nexus, the old and the one that reinstated it, never
 *   have effects at the same time.
 *
 * The atomics here are the referee's, not the protocol's.
 */

#include "sim.h"

#define EXCLUSIVE 0x80000000U

guint64
medium_birth(Medium *medium)
{
    return __atomic_fetch_add(&medium->births, 1, __ATOMIC_SEQ_CST);
}

guint64
medium_births(Medium *medium)
{
    return __atomic_load_n(&medium->births, __ATOMIC_SEQ_CST);
}

void
medium_bury(Medium *medium, guint lu, guint64 before)
{
    __atomic_store_n(&medium->dead_before[lu], before, __ATOMIC_SEQ_CST);
}

void
medium_enforce(Medium *medium, guint lu, gint holder)
{
    __atomic_store_n(&medium->enforced[lu], holder, __ATOMIC_SEQ_CST);
}

void
medium_check_effect(Medium *medium, const Command *command)
{
    guint64 dead_before = __atomic_load_n(&medium->dead_before[command->lu], __ATOMIC_SEQ_CST);
    gint holder = __atomic_load_n(&medium->enforced[command->lu], __ATOMIC_SEQ_CST);

    g_assert_cmpuint(command->birth, >=, dead_before);
    if (command->kind == COMMAND_WRITE || command->kind == COMMAND_ATOMIC)
        g_assert_true(holder == NO_HOLDER || holder == (gint)command->nexus);
}

static void
enter(Medium *medium, const Command *command)
{
    guint32 *running = medium->running[command->nexus];
    guint parity = command->incarnation % 2;

    (void)__atomic_fetch_add(&running[parity], 1, __ATOMIC_SEQ_CST);
    g_assert_cmpuint(__atomic_load_n(&running[!parity], __ATOMIC_SEQ_CST), ==, 0);
    medium_check_effect(medium, command);
}

static void
leave(Medium *medium, const Command *command)
{
    guint32 *running = medium->running[command->nexus];

    medium_check_effect(medium, command);
    (void)__atomic_fetch_sub(&running[command->incarnation % 2], 1, __ATOMIC_SEQ_CST);
}

void
medium_begin(Medium *medium, const Command *command)
{
    enter(medium, command);
    for (guint i = 0; i < command->n && command->kind == COMMAND_WRITE; i++) {
        guint32 *owner = &medium->owner[command->lu][command->first + i];
        guint32 before = __atomic_fetch_add(owner, 1, __ATOMIC_SEQ_CST);

        g_assert_cmphex(before & EXCLUSIVE, ==, 0);
    }
}

void
medium_end(Medium *medium, const Command *command)
{
    for (guint i = 0; i < command->n && command->kind == COMMAND_WRITE; i++) {
        guint32 *owner = &medium->owner[command->lu][command->first + i];
        guint32 before = __atomic_fetch_sub(owner, 1, __ATOMIC_SEQ_CST);

        g_assert_cmphex(before & EXCLUSIVE, ==, 0);
        g_assert_cmpuint(before, >, 0);
    }
    leave(medium, command);
}

void
medium_begin_exclusive(Medium *medium, HomeOp *op)
{
    guint lu = op->home->index;

    enter(medium, op->command);
    for (guint i = 0; i < op->n; i++) {
        guint32 before =
            __atomic_exchange_n(&medium->owner[lu][op->first + i], EXCLUSIVE, __ATOMIC_SEQ_CST);

        g_assert_cmphex(before, ==, 0);
        op->values[i] = __atomic_load_n(&medium->value[lu][op->first + i], __ATOMIC_RELAXED);
    }
}

void
medium_end_exclusive(Medium *medium, HomeOp *op)
{
    guint lu = op->home->index;

    for (guint i = 0; i < op->n; i++) {
        guint32 before;

        __atomic_store_n(&medium->value[lu][op->first + i], op->values[i] + 1, __ATOMIC_RELAXED);
        before = __atomic_exchange_n(&medium->owner[lu][op->first + i], 0, __ATOMIC_SEQ_CST);
        g_assert_cmphex(before, ==, EXCLUSIVE);
        op->home->n_increments[op->first + i]++;
    }
    leave(medium, op->command);
}
