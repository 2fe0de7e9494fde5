/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "scsi/lu-shard.h"

/*
 * Range locks: writes that must not be mixed with others
 */

void range_lock_init(Lu *lu);
void range_lock_deinit(Lu *lu);

/* On the home worker: a lock is held or asked for */
gboolean range_lock_is_busy(const Lu *lu);

/* Whether the I/O of @command must be parked now; only asked when shard->n_conflicts is not 0 */
gboolean range_lock_is_conflict(const LuShard *shard, const ScsiCommand *command);

/* The I/O of a command of @shard has ended: who waits for it may go on */
void range_lock_io_ended(LuShard *shard);

/* Conflicts have become fewer: let parked commands try again */
void range_lock_unpark(LuShard *shard);

/**
 * range_lock_run() - carry out command->range_op, or a write of partial physical blocks
 * @command: its io is filled but for done; state SCSI_STATE_IO
 *
 * The home worker locks the range on all workers, reads, merges and writes
 * through a buffer of its reserve, and unlocks. @command->io.result is then
 * set and @done is called on the command's own worker. The result is -EAGAIN
 * when the reserve was empty.
 */
void range_lock_run(ScsiCommand *command, void (*done)(Io *io));
