/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "scsi/operation.h"

/*
 * What primary commands share
 */

/**
 * spc_receive_list() - get the parameter list of a command into its buffer
 * @min: bytes without which the list makes no sense
 * @max: bytes it can have
 * @self: the operation, called again when a buffer is free
 *
 * An empty list is no error and ends the command. When the initiator sends less than it announced
 * the list is what it sent: command->data_length bytes, at least @min.
 */
void spc_receive_list(ScsiCommand *command, guint32 min, guint32 max, void (*self)(ScsiCommand *),
                      void (*on_list)(ScsiCommand *));

/* End with GOOD; all of the parameter list was used */
void spc_finish_list(ScsiCommand *command);
