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

/* alua.c */
void spc_report_target_port_groups(ScsiCommand *command);
void spc_set_target_port_groups(ScsiCommand *command);

/* pr-in.c */
void pr_in_read_keys(ScsiCommand *command);
void pr_in_read_reservation(ScsiCommand *command);
void pr_in_report_capabilities(ScsiCommand *command);
void pr_in_read_full_status(ScsiCommand *command);

/* pr-out.c */
void pr_out(ScsiCommand *command);

/* reserve.c */
void spc_reserve(ScsiCommand *command);
void spc_release(ScsiCommand *command);

/* mode.c */
void mode_sense(ScsiCommand *command);

/* mode-select.c */
void mode_select(ScsiCommand *command);

/* log-page.c */
void log_sense(ScsiCommand *command);
void log_select(ScsiCommand *command);

/* notes.c */
void spc_report_identifying_information(ScsiCommand *command);
void spc_set_identifying_information(ScsiCommand *command);
void spc_report_timestamp(ScsiCommand *command);
void spc_set_timestamp(ScsiCommand *command);
void spc_read_buffer(ScsiCommand *command);
void spc_write_buffer(ScsiCommand *command);

/* diagnostic.c */
void spc_send_diagnostic(ScsiCommand *command);
void spc_receive_diagnostic_results(ScsiCommand *command);

/* copy.c */
void copy_extended_copy(ScsiCommand *command);
void copy_operation_abort(ScsiCommand *command);

/* copy-results.c */
void copy_status_lid1(ScsiCommand *command);
void copy_operating_parameters(ScsiCommand *command);
void copy_failed_segment_details(ScsiCommand *command);
void copy_status_lid4(ScsiCommand *command);

/* rod.c */
void rod_populate_token(ScsiCommand *command);
void rod_write_using_token(ScsiCommand *command);

/* rod-results.c */
void rod_receive_information(ScsiCommand *command);

/* medium.c */
void sbc_start_stop_unit(ScsiCommand *command);
void sbc_prevent_allow(ScsiCommand *command);

/* mmc-toc.c */
void mmc_read_toc(ScsiCommand *command);
void mmc_read_disc_information(ScsiCommand *command);
void mmc_read_track_information(ScsiCommand *command);

/* mmc-configuration.c */
void mmc_get_configuration(ScsiCommand *command);

/* mmc-event.c */
void mmc_get_event_status(ScsiCommand *command);
void mmc_mechanism_status(ScsiCommand *command);

/* mmc-disc.c */
void mmc_read_disc_structure(ScsiCommand *command);
void mmc_get_performance(ScsiCommand *command);
void mmc_set_cd_speed(ScsiCommand *command);
void mmc_read_cd(ScsiCommand *command);

/* sbc-capacity.c */
void sbc_read_capacity_10(ScsiCommand *command);
void sbc_read_capacity_16(ScsiCommand *command);

/* sbc-read-write.c */
void sbc_read(ScsiCommand *command);
void sbc_write(ScsiCommand *command);

/* sbc-cache.c */
void sbc_synchronize_cache(ScsiCommand *command);

/* sbc-verify.c */
void sbc_verify(ScsiCommand *command);
void sbc_write_and_verify(ScsiCommand *command);

/* sbc-unmap.c */
void sbc_unmap(ScsiCommand *command);

/* sbc-write-same.c */
void sbc_write_same(ScsiCommand *command);

/* sbc-atomic.c */
void sbc_compare_and_write(ScsiCommand *command);
void sbc_write_atomic(ScsiCommand *command);
void sbc_or_write(ScsiCommand *command);

/* sbc-status.c */
void sbc_get_lba_status(ScsiCommand *command);
void sbc_pre_fetch(ScsiCommand *command);
void sbc_read_defect_data_10(ScsiCommand *command);
void sbc_read_defect_data_12(ScsiCommand *command);

/* sbc-erase.c */
void sbc_sanitize_overwrite(ScsiCommand *command);
void sbc_sanitize_block_erase(ScsiCommand *command);
void sbc_sanitize_cryptographic_erase(ScsiCommand *command);
void sbc_sanitize_exit_failure_mode(ScsiCommand *command);
void sbc_format_unit(ScsiCommand *command);
