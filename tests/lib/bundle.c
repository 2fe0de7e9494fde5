/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

#include "bundle.h"

#include <string.h>

#include "util/bytes.h"

#define KEYS                                                                                       \
    "InitialR2T=No\nImmediateData=Yes\nMaxRecvDataSegmentLength=262144\nMaxConnections=8\n"        \
    "ErrorRecoveryLevel=2\nDefaultTime2Wait=0\nDefaultTime2Retain=3600\n"                          \
    "TaskReporting=FastAbort,ResponseFence,RFC3720"

/* @cmd_sn counts for all connections: who sends next has it */
Initiator *
bundle_turn(Bundle *bundle, guint i)
{
    guint32 cmd_sn = bundle->c[0]->cmd_sn;

    for (guint j = 1; j < bundle->n; j++) {
        if (pdu_sn_less(cmd_sn, bundle->c[j]->cmd_sn))
            cmd_sn = bundle->c[j]->cmd_sn;
    }
    bundle->c[i]->cmd_sn = cmd_sn;
    return bundle->c[i];
}

Initiator *
bundle_make(Bundle *bundle, guint16 cid)
{
    Initiator *initiator = initiator_new(bundle->rig);

    initiator->cid = cid;
    initiator->itt = 0x1000u * (guint32)(cid + 1);
    if (bundle->n > 0) {
        initiator->tsih = bundle->c[0]->tsih;
        initiator->cmd_sn = bundle_turn(bundle, 0)->cmd_sn;
    }
    return initiator;
}

guint16
bundle_join(Bundle *bundle, guint16 cid)
{
    Initiator *initiator = bundle_make(bundle, cid);
    guint16 status =
        initiator_login(initiator, bundle->n == 0 ? KEYS : "MaxRecvDataSegmentLength=65536");

    if (status == 0)
        bundle->c[bundle->n++] = initiator;
    else
        initiator_free(initiator);
    return status;
}

void
bundle_init(Bundle *bundle, const RigConfig *config, guint n)
{
    *bundle = (Bundle){ .rig = rig_new(config) };
    for (guint i = 0; i < n; i++)
        g_assert_cmphex(bundle_join(bundle, (guint16)i), ==, 0);
    initiator_settle(bundle_turn(bundle, 0));
}

void
bundle_init_plain(Bundle *bundle, guint n_workers, guint n)
{
    bundle_init(bundle, &(RigConfig){ .n_workers = n_workers }, n);
}

void
bundle_deinit(Bundle *bundle)
{
    for (guint i = 0; i < bundle->n; i++)
        initiator_free(bundle->c[i]);
    rig_free(bundle->rig);
}

void
bundle_send_write(Initiator *initiator, guint32 lba, guint8 byte)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[10], data[512];

    memset(data, byte, sizeof(data));
    initiator_cdb10(cdb, 0x2a, lba, 1);
    initiator_command(initiator, bhs, 0x80 | 0x20 | 1, cdb, 10, sizeof(data));
    initiator_send(initiator, bhs, data, sizeof(data));
}

void
bundle_receive(Initiator *initiator)
{
    do
        g_assert_true(initiator_receive(initiator));
    while (pdu_opcode(initiator->bhs) == PDU_NOP_IN);
}

guint8
bundle_get_status(Initiator *initiator)
{
    bundle_receive(initiator);
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_SCSI_RESPONSE);
    return initiator->bhs[3];
}

guint8
bundle_read_byte(Initiator *initiator, guint32 lba)
{
    guint8 data[512];

    initiator_read(initiator, lba, 1, data);
    return data[17];
}

void
bundle_send_logout(Initiator *initiator, PduLogoutReason reason, guint16 cid)
{
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(initiator, bhs, PDU_LOGOUT_REQUEST, (guint8)(0x80 | reason));
    put_be16(bhs + 20, cid);
    initiator_send(initiator, bhs, NULL, 0);
}

guint8
bundle_log_out(Initiator *initiator, PduLogoutReason reason, guint16 cid)
{
    bundle_send_logout(initiator, reason, cid);
    bundle_receive(initiator);
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_LOGOUT_RESPONSE);
    return initiator->bhs[2];
}

/* TEST UNIT READY: sense key << 16 | ASC << 8 | ASCQ, 0 for GOOD */
guint32
bundle_test_unit(Initiator *initiator)
{
    static const guint8 cdb[6];
    Outcome outcome;

    g_assert_true(initiator_run(initiator, cdb, 6, NULL, 0, NULL, 0, &outcome));
    if (outcome.status == 0)
        return 0;
    g_assert_cmphex(outcome.status, ==, 0x02);
    return (guint32)outcome.sense[2] << 16 | (guint32)outcome.sense[12] << 8 | outcome.sense[13];
}

void
bundle_begin_login(Initiator *initiator)
{
    static const char text[] =
        "InitiatorName=" RIG_INITIATOR "\0TargetName=" RIG_TARGET "\0SessionType=Normal";
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(initiator, bhs, PDU_LOGIN_REQUEST | PDU_IMMEDIATE, 0x87);
    memcpy(bhs + 8, initiator->isid, 6);
    put_be16(bhs + 14, initiator->tsih);
    put_be16(bhs + 20, initiator->cid);
    initiator_send(initiator, bhs, text, sizeof(text));
}
