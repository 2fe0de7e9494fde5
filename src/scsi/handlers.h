/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "scsi/command.h"

/*
 * The functions behind the rows of the operation table, by file
 *
 * Each is called once the gates have let the command pass, and again when
 * something it waited for has come (see scsi/operation.h).
 */

/* spc.c */
void spc_test_unit_ready(ScsiCommand *command);
void spc_request_sense(ScsiCommand *command);

/* inquiry.c */
void spc_inquiry(ScsiCommand *command);

/* report.c */
void spc_report_luns(ScsiCommand *command);
void spc_report_supported_operation_codes(ScsiCommand *command);
void spc_report_supported_tmfs(ScsiCommand *command);

/* mode.c */
void mode_sense(ScsiCommand *command);

/* sbc-capacity.c */
void sbc_read_capacity_10(ScsiCommand *command);
void sbc_read_capacity_16(ScsiCommand *command);

/* sbc-read-write.c */
void sbc_read(ScsiCommand *command);
void sbc_write(ScsiCommand *command);

/* sbc-cache.c */
void sbc_synchronize_cache(ScsiCommand *command);
void sbc_start_stop_unit(ScsiCommand *command);

/* sbc-verify.c */
void sbc_verify(ScsiCommand *command);
void sbc_write_and_verify(ScsiCommand *command);

/* sbc-unmap.c */
void sbc_unmap(ScsiCommand *command);

/* sbc-write-same.c */
void sbc_write_same(ScsiCommand *command);
