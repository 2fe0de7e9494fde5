/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/* PDUs as byte vectors in the layout of RFC 7143 section 11 */

#include "iscsi/pdu.h"

static const PduLimits normal = { PDU_PHASE_NORMAL, 65536, PDU_AHS_SIZE_MAX };
static const PduLimits discovery = { PDU_PHASE_DISCOVERY, 65536, PDU_AHS_SIZE_MAX };
static const PduLimits login = { PDU_PHASE_LOGIN, PDU_LOGIN_DATA_MAX, PDU_AHS_SIZE_MAX };

/* READ(10) of 8 blocks, expected 4096 bytes */
static const guint8 scsi_command[PDU_BHS_SIZE] = {
    0x01, 0xc1, 0x00, 0x00,                                     /* F, R, SIMPLE */
    0x00, 0x00, 0x00, 0x00,                                     /* no AHS, no data */
    0x00, 0x05, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,             /* LUN 5 */
    0x11, 0x22, 0x33, 0x44,                                     /* ITT */
    0x00, 0x00, 0x10, 0x00,                                     /* expected data transfer length */
    0x00, 0x00, 0x00, 0x07,                                     /* CmdSN */
    0x00, 0x00, 0x00, 0x09,                                     /* ExpStatSN */
    0x28, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x08, 0x00, /* CDB */
};

static PduRejectReason
check(const guint8 *bhs, const PduLimits *limits)
{
    gboolean fatal;

    return pdu_check(bhs, limits, &fatal);
}

static gboolean
is_fatal(const guint8 *bhs, const PduLimits *limits)
{
    gboolean fatal;

    g_assert_cmpint(pdu_check(bhs, limits, &fatal), !=, PDU_REJECT_NONE);
    return fatal;
}

static void
test_command_fields(void)
{
    g_assert_cmpint(pdu_opcode(scsi_command), ==, PDU_SCSI_COMMAND);
    g_assert_false(pdu_is_immediate(scsi_command));
    g_assert_true(pdu_is_final(scsi_command));
    g_assert_true(pdu_command_is_read(scsi_command));
    g_assert_false(pdu_command_is_write(scsi_command));
    g_assert_cmpint(pdu_command_attr(scsi_command), ==, PDU_ATTR_SIMPLE);
    g_assert_cmphex(pdu_lun(scsi_command), ==, 0x0005000000000000u);
    g_assert_cmphex(pdu_itt(scsi_command), ==, 0x11223344);
    g_assert_cmpuint(pdu_command_edtl(scsi_command), ==, 4096);
    g_assert_cmpuint(pdu_cmd_sn(scsi_command), ==, 7);
    g_assert_cmpuint(pdu_exp_stat_sn(scsi_command), ==, 9);
    g_assert_cmphex(pdu_command_cdb(scsi_command)[0], ==, 0x28);
    g_assert_cmpint(check(scsi_command, &normal), ==, PDU_REJECT_NONE);
}

static void
test_login_fields(void)
{
    static const guint8 bhs[PDU_BHS_SIZE] = {
        0x43, 0x87, 0x02, 0x00, /* T, CSG 1, NSG 3; versions 2 to 0 */
        0x00, 0x00, 0x01, 0x02, 0x80, 0x12, 0x34, 0x56, 0x78, 0x9a, 0xab, 0xcd, /* ISID, TSIH */
        0x00, 0x00, 0x00, 0x01, 0x00, 0x63, 0x00, 0x00,                         /* ITT, CID */
    };

    g_assert_true(pdu_login_is_transit(bhs));
    g_assert_false(pdu_is_continued(bhs));
    g_assert_cmpint(pdu_login_csg(bhs), ==, PDU_STAGE_OPERATIONAL);
    g_assert_cmpint(pdu_login_nsg(bhs), ==, PDU_STAGE_FULL_FEATURE);
    g_assert_cmpuint(pdu_login_version_max(bhs), ==, 2);
    g_assert_cmpuint(pdu_login_version_min(bhs), ==, 0);
    g_assert_cmpuint(pdu_data_size(bhs), ==, 0x102);
    g_assert_cmpmem(pdu_login_isid(bhs), 6, bhs + 8, 6);
    g_assert_cmphex(pdu_login_tsih(bhs), ==, 0xabcd);
    g_assert_cmphex(pdu_login_cid(bhs), ==, 0x63);
    g_assert_cmpint(check(bhs, &login), ==, PDU_REJECT_NONE);
}

static void
test_rest_size(void)
{
    guint8 bhs[PDU_BHS_SIZE] = { 0 };

    g_assert_cmpuint(pdu_rest_size(bhs, FALSE, FALSE), ==, 0);
    g_assert_cmpuint(pdu_rest_size(bhs, TRUE, TRUE), ==, 4); /* no data, no data digest */
    bhs[4] = 3;
    pdu_set_data_size(bhs, 5);
    g_assert_cmpuint(pdu_rest_size(bhs, FALSE, FALSE), ==, 12 + 8);
    g_assert_cmpuint(pdu_rest_size(bhs, TRUE, TRUE), ==, 12 + 4 + 8 + 4);
}

static void
test_pad(void)
{
    static const gsize pads[] = { 0, 3, 2, 1, 0, 3 };

    for (gsize i = 0; i < G_N_ELEMENTS(pads); i++)
        g_assert_cmpuint(pdu_pad(i), ==, pads[i]);
}

static void
test_serial(void)
{
    g_assert_true(pdu_sn_less(1, 2));
    g_assert_false(pdu_sn_less(2, 2));
    g_assert_true(pdu_sn_less_equal(2, 2));
    g_assert_true(pdu_sn_less(0xffffffff, 0));
    g_assert_true(pdu_sn_less(0xfffffff0, 0x10));
    g_assert_false(pdu_sn_less(0x10, 0xfffffff0));
    g_assert_true(pdu_sn_less(0, 0x7fffffff));
    g_assert_false(pdu_sn_less(0x7fffffff, 0));
}

static void
test_window(void)
{
    g_assert_true(pdu_sn_in_window(5, 5, 5));
    g_assert_false(pdu_sn_in_window(5, 5, 4)); /* closed */
    g_assert_false(pdu_sn_in_window(5 + 0x80000000u, 5, 4));
    g_assert_false(pdu_sn_in_window(5 + 0x80000000u, 5, 5));
    g_assert_false(pdu_sn_in_window(4, 5, 10));
    g_assert_false(pdu_sn_in_window(11, 5, 10));
    g_assert_true(pdu_sn_in_window(0, 0xfffffffe, 3));
    g_assert_true(pdu_sn_in_window(0xffffffff, 0xfffffffe, 3));
    g_assert_false(pdu_sn_in_window(0xfffffffd, 0xfffffffe, 3));
}

static void
test_table_is_sorted(void)
{
    gsize n;
    const PduRow *rows = pdu_rows(&n);

    g_assert_cmpuint(n, ==, 18);
    for (gsize i = 0; i < n; i++) {
        g_assert_true(pdu_find(rows[i].opcode) == &rows[i]);
        g_assert_cmpstr(pdu_name(rows[i].opcode), ==, rows[i].name);
        if (i > 0)
            g_assert_cmpuint(rows[i - 1].opcode, <, rows[i].opcode);
    }
}

/* Relations between the columns of the table */
static void
test_table_relations(void)
{
    gsize n;
    const PduRow *rows = pdu_rows(&n);

    for (gsize i = 0; i < n; i++) {
        gboolean from_target = rows[i].opcode >= 0x20;

        g_assert_cmpint(rows[i].direction, ==, from_target ? PDU_FROM_TARGET : PDU_FROM_INITIATOR);
        g_assert_true((rows[i].phases == 0) == from_target);
        g_assert_true(!from_target || (!rows[i].immediate && !rows[i].ahs));
        g_assert_true(rows[i].immediate == rows[i].has_cmd_sn);
    }
}

static void
test_unknown_opcode(void)
{
    guint8 bhs[PDU_BHS_SIZE] = { 0x1c, 0x80 };

    g_assert_null(pdu_find(0x1c));
    g_assert_cmpint(check(bhs, &normal), ==, PDU_REJECT_NOT_SUPPORTED);
    g_assert_false(is_fatal(bhs, &normal));
}

static void
test_target_opcode_is_fatal(void)
{
    guint8 bhs[PDU_BHS_SIZE] = { PDU_DATA_IN, 0x80 };

    g_assert_cmpint(check(bhs, &normal), ==, PDU_REJECT_PROTOCOL_ERROR);
    g_assert_true(is_fatal(bhs, &normal));
}

static void
test_phases(void)
{
    guint8 request[PDU_BHS_SIZE] = { PDU_LOGIN_REQUEST | PDU_IMMEDIATE };

    g_assert_cmpint(check(request, &login), ==, PDU_REJECT_NONE);
    g_assert_cmpint(check(request, &normal), ==, PDU_REJECT_PROTOCOL_ERROR);
    g_assert_cmpint(check(scsi_command, &login), ==, PDU_REJECT_PROTOCOL_ERROR);
    g_assert_true(is_fatal(scsi_command, &login));
    g_assert_cmpint(check(scsi_command, &discovery), ==, PDU_REJECT_PROTOCOL_ERROR);
    g_assert_false(is_fatal(scsi_command, &discovery));
    request[0] = PDU_TEXT_REQUEST;
    g_assert_cmpint(check(request, &discovery), ==, PDU_REJECT_NONE);
    g_assert_cmpint(check(request, &normal), ==, PDU_REJECT_NONE);
}

static void
test_too_much_data_is_fatal(void)
{
    guint8 bhs[PDU_BHS_SIZE] = { PDU_NOP_OUT, 0x80 };

    pdu_set_data_size(bhs, 65536);
    g_assert_cmpint(check(bhs, &normal), ==, PDU_REJECT_NONE);
    pdu_set_data_size(bhs, 65537);
    g_assert_true(is_fatal(bhs, &normal));
}

static void
test_data_not_allowed(void)
{
    guint8 bhs[PDU_BHS_SIZE] = { PDU_LOGOUT_REQUEST, 0x80 };

    g_assert_cmpint(check(bhs, &normal), ==, PDU_REJECT_NONE);
    pdu_set_data_size(bhs, 4);
    g_assert_cmpint(check(bhs, &normal), ==, PDU_REJECT_INVALID_FIELD);
}

static void
test_ahs_not_allowed(void)
{
    guint8 bhs[PDU_BHS_SIZE] = { PDU_NOP_OUT, 0x80, 0, 0, 2 };

    g_assert_cmpint(check(bhs, &normal), ==, PDU_REJECT_INVALID_FIELD);
}

static void
test_immediate_not_allowed(void)
{
    guint8 bhs[PDU_BHS_SIZE] = { PDU_DATA_OUT | PDU_IMMEDIATE, 0x80 };

    g_assert_cmpint(check(bhs, &normal), ==, PDU_REJECT_INVALID_FIELD);
    bhs[0] = PDU_DATA_OUT;
    g_assert_cmpint(check(bhs, &normal), ==, PDU_REJECT_NONE);
}

static void
test_command_flags(void)
{
    static const struct {
        guint8 flags;
        guint32 edtl;
        gsize data_size;
        PduRejectReason reason;
    } cases[] = {
        { 0x80, 0, 0, PDU_REJECT_NONE },            /* no data */
        { 0x80, 512, 0, PDU_REJECT_INVALID_FIELD }, /* data without a direction */
        { 0xc0, 512, 0, PDU_REJECT_NONE },
        { 0x40, 512, 0, PDU_REJECT_INVALID_FIELD }, /* neither W nor F */
        { 0xa0, 512, 512, PDU_REJECT_NONE },
        { 0x20, 512, 0, PDU_REJECT_NONE },            /* unsolicited data follows */
        { 0xc0, 512, 512, PDU_REJECT_INVALID_FIELD }, /* immediate data of a read */
        { 0xe0, 512, 0, PDU_REJECT_NONE },            /* bidirectional: the session's business */
        { 0x84, 0, 0, PDU_REJECT_NONE },              /* ACA */
        { 0x85, 0, 0, PDU_REJECT_INVALID_FIELD },     /* reserved attribute */
    };

    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        guint8 bhs[PDU_BHS_SIZE] = { PDU_SCSI_COMMAND, cases[i].flags };

        put_be32(bhs + 20, cases[i].edtl);
        pdu_set_data_size(bhs, cases[i].data_size);
        g_assert_cmpint(check(bhs, &normal), ==, cases[i].reason);
    }
}

static void
test_reserved_tag(void)
{
    static const guint8 opcodes[] = { PDU_SCSI_COMMAND, PDU_TASK_MANAGEMENT_REQUEST,
                                      PDU_TEXT_REQUEST, PDU_LOGOUT_REQUEST, PDU_DATA_OUT };

    for (gsize i = 0; i < G_N_ELEMENTS(opcodes); i++) {
        guint8 bhs[PDU_BHS_SIZE] = { opcodes[i], 0x80 };

        g_assert_cmpint(check(bhs, &normal), ==, PDU_REJECT_NONE);
        put_be32(bhs + 16, PDU_TAG_RESERVED);
        g_assert_cmpint(check(bhs, &normal), ==, PDU_REJECT_INVALID_FIELD);
    }
}

static void
test_nop_out_without_answer(void)
{
    guint8 bhs[PDU_BHS_SIZE] = { PDU_NOP_OUT | PDU_IMMEDIATE, 0x80 };

    put_be32(bhs + 16, PDU_TAG_RESERVED);
    g_assert_cmpint(check(bhs, &normal), ==, PDU_REJECT_NONE);
    bhs[0] = PDU_NOP_OUT;
    g_assert_cmpint(check(bhs, &normal), ==, PDU_REJECT_INVALID_FIELD);
}

static void
test_text_final_and_continued(void)
{
    guint8 bhs[PDU_BHS_SIZE] = { PDU_TEXT_REQUEST, PDU_FINAL | PDU_CONTINUE };

    g_assert_cmpint(check(bhs, &normal), ==, PDU_REJECT_INVALID_FIELD);
}

static void
test_encode_scsi_response(void)
{
    static const guint8 expected[PDU_BHS_SIZE] = {
        0x21, 0x82, 0x00, 0x02, /* F, U, completed, CHECK CONDITION */
        0x00, 0x00, 0x00, 0x14, 0,    0,    0,    0,    0,    0,    0,    0,
        0x11, 0x22, 0x33, 0x44, 0x00, 0x00, 0x00, 0x00,                         /* ITT, SNACK tag */
        0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x09, /* numbers */
        0x00, 0x00, 0x00, 0x03, 0x00, 0x00, 0x00, 0x00, /* ExpDataSN, bidirectional residual */
        0x00, 0x00, 0x0e, 0x00,                         /* residual */
    };
    guint8 bhs[PDU_BHS_SIZE];

    pdu_encode_scsi_response(bhs, 0x11223344, PDU_RESIDUAL_UNDERFLOW, PDU_RESPONSE_COMPLETED, 2,
                             3584, 3, 20);
    pdu_set_sequence(bhs, 1, 2, 9);
    g_assert_cmpmem(bhs, sizeof bhs, expected, sizeof expected);
}

static void
test_encode_data_in(void)
{
    static const guint8 expected[PDU_BHS_SIZE] = {
        0x25, 0x83, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00, /* F, U, S; GOOD; 512 bytes */
        0,    0,    0,    0,    0,    0,    0,    0,    0x00, 0x00, 0x00, 0x2a, /* ITT */
        0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x05,                         /* TTT, StatSN */
        0x00, 0x00, 0x00, 0x06, 0x00, 0x00, 0x00, 0x0d, /* ExpCmdSN, MaxCmdSN */
        0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x10, 0x00, /* DataSN, offset */
        0x00, 0x00, 0x00, 0x64,
    };
    guint8 bhs[PDU_BHS_SIZE];

    pdu_encode_data_in(bhs, 0x2a, 0, 0, PDU_TAG_RESERVED, 1, 4096, 512);
    pdu_set_data_in_status(bhs, 0, PDU_RESIDUAL_UNDERFLOW, 100);
    pdu_set_sequence(bhs, 5, 6, 13);
    g_assert_cmpmem(bhs, sizeof bhs, expected, sizeof expected);
}

static void
test_encode_r2t(void)
{
    static const guint8 expected[PDU_BHS_SIZE] = {
        0x31, 0x80, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0,    0,
        0,    0,    0,    0,    0x00, 0x00, 0x00, 0x2a, 0x00, 0x00, 0x00, 0x07, /* ITT, TTT */
        0x00, 0x00, 0x00, 0x05, 0x00, 0x00, 0x00, 0x06, 0x00, 0x00, 0x00, 0x0d,
        0x00, 0x00, 0x00, 0x02, 0x00, 0x04, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00,
    };
    guint8 bhs[PDU_BHS_SIZE];

    pdu_encode_r2t(bhs, 0x2a, 0x0001000000000000u, 7, 2, 262144, 65536);
    pdu_set_sequence(bhs, 5, 6, 13);
    g_assert_cmpmem(bhs, sizeof bhs, expected, sizeof expected);
    g_assert_cmpuint(pdu_data_sn(bhs), ==, 2);
    g_assert_cmpuint(pdu_data_offset(bhs), ==, 262144);
    g_assert_cmpuint(pdu_r2t_length(bhs), ==, 65536);
}

static void
test_encode_small_responses(void)
{
    guint8 bhs[PDU_BHS_SIZE];

    pdu_encode_nop_in(bhs, PDU_TAG_RESERVED, 0x0003000000000000u, 9, 0);
    g_assert_cmphex(bhs[0], ==, 0x20);
    g_assert_cmphex(bhs[1], ==, 0x80);
    g_assert_cmphex(pdu_itt(bhs), ==, PDU_TAG_RESERVED);
    g_assert_cmphex(pdu_ttt(bhs), ==, 9);

    pdu_encode_tmf_response(bhs, 4, PDU_TMF_RESPONSE_NO_LUN, 0x162904);
    g_assert_cmphex(bhs[0], ==, 0x22);
    g_assert_cmphex(bhs[2], ==, 2);
    g_assert_cmphex(get_be32(bhs + 8), ==, 0x16290400);

    pdu_encode_logout_response(bhs, 4, PDU_LOGOUT_RESPONSE_NO_CID, 2, 20);
    g_assert_cmphex(bhs[0], ==, 0x26);
    g_assert_cmphex(bhs[2], ==, 1);
    g_assert_cmpuint(get_be16(bhs + 40), ==, 2);
    g_assert_cmpuint(get_be16(bhs + 42), ==, 20);
}

static void
test_encode_reject(void)
{
    guint8 bhs[PDU_BHS_SIZE];

    pdu_encode_reject(bhs, PDU_REJECT_PROTOCOL_ERROR, 0, PDU_BHS_SIZE);
    g_assert_cmphex(bhs[0], ==, 0x3f);
    g_assert_cmphex(bhs[1], ==, 0x80);
    g_assert_cmphex(bhs[2], ==, 0x04);
    g_assert_cmphex(pdu_itt(bhs), ==, PDU_TAG_RESERVED);
    g_assert_cmpuint(pdu_data_size(bhs), ==, PDU_BHS_SIZE);
}

static void
test_encode_text_response(void)
{
    guint8 bhs[PDU_BHS_SIZE];

    pdu_encode_text_response(bhs, 3, PDU_CONTINUE, 0, 8, 100);
    g_assert_cmphex(bhs[0], ==, 0x24);
    g_assert_cmphex(bhs[1], ==, 0x40);
    g_assert_cmphex(pdu_ttt(bhs), ==, 8);
    g_assert_cmpuint(pdu_data_size(bhs), ==, 100);
}

static void
test_encode_login_response(void)
{
    static const guint8 isid[6] = { 0x80, 1, 2, 3, 4, 5 };
    guint8 bhs[PDU_BHS_SIZE];

    pdu_encode_login_response(bhs, 3, 0x87, isid, 0x1234, 0x0203, 6);
    g_assert_cmphex(bhs[0], ==, 0x23);
    g_assert_cmphex(bhs[1], ==, 0x87);
    g_assert_cmpmem(bhs + 8, 6, isid, 6);
    g_assert_cmphex(pdu_login_tsih(bhs), ==, 0x1234);
    g_assert_cmphex(bhs[36], ==, 0x02);
    g_assert_cmphex(bhs[37], ==, 0x03);
    g_assert_cmphex(pdu_login_status(bhs), ==, 0x0203);
}

static void
test_encode_async_message(void)
{
    guint8 bhs[PDU_BHS_SIZE];

    pdu_encode_async_message(bhs, 0, PDU_ASYNC_CONNECTION_DROP, 0, 7, 2, 20, 0);
    g_assert_cmphex(bhs[0], ==, 0x32);
    g_assert_cmphex(pdu_itt(bhs), ==, PDU_TAG_RESERVED);
    g_assert_cmphex(bhs[36], ==, 2);
    g_assert_cmpuint(get_be16(bhs + 38), ==, 7);
    g_assert_cmpuint(get_be16(bhs + 40), ==, 2);
    g_assert_cmpuint(get_be16(bhs + 42), ==, 20);
}

static void
test_ahs_extended_cdb(void)
{
    /* a CDB of 20 bytes: 4 beyond the header; then an expected read length */
    static const guint8 bytes[] = { 0x00, 0x05, 0x01, 0x00, 0xaa, 0xbb, 0xcc, 0xdd,
                                    0x00, 0x05, 0x02, 0x00, 0x00, 0x00, 0x02, 0x00 };
    PduAhs ahs;

    g_assert_true(pdu_ahs_parse(bytes, sizeof bytes, &ahs));
    g_assert_cmpmem(ahs.extended_cdb, (int)ahs.extended_cdb_size, bytes + 4, 4);
    g_assert_true(ahs.has_read_length);
    g_assert_cmpuint(ahs.read_length, ==, 512);
}

static void
test_ahs_broken(void)
{
    static const guint8 beyond[] = { 0x00, 0x06, 0x01, 0x00, 0xaa, 0xbb, 0xcc, 0xdd };
    static const guint8 twice[] = { 0x00, 0x05, 0x02, 0x00, 0, 0, 0, 1,
                                    0x00, 0x05, 0x02, 0x00, 0, 0, 0, 1 };
    static const guint8 empty[] = { 0x00, 0x01, 0x01, 0x00 };
    static const guint8 unknown[] = { 0x00, 0x01, 0x3f, 0x00 };
    PduAhs ahs;

    g_assert_false(pdu_ahs_parse(beyond, sizeof beyond, &ahs));
    g_assert_false(pdu_ahs_parse(twice, sizeof twice, &ahs));
    g_assert_false(pdu_ahs_parse(empty, sizeof empty, &ahs));
    g_assert_true(pdu_ahs_parse(unknown, sizeof unknown, &ahs));
    g_assert_null(ahs.extended_cdb);
}

static void
test_reject_names(void)
{
    for (guint i = 0; i <= 0x0c; i++)
        g_assert_cmpstr(pdu_reject_name((PduRejectReason)i), !=, "");
    g_assert_cmpstr(pdu_reject_name((PduRejectReason)0xff), ==, "unknown reason");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_func("/iscsi/pdu/command-fields", test_command_fields);
    g_test_add_func("/iscsi/pdu/login-fields", test_login_fields);
    g_test_add_func("/iscsi/pdu/rest-size", test_rest_size);
    g_test_add_func("/iscsi/pdu/pad", test_pad);
    g_test_add_func("/iscsi/pdu/serial-numbers-wrap", test_serial);
    g_test_add_func("/iscsi/pdu/window-wraps", test_window);
    g_test_add_func("/iscsi/pdu/table-is-sorted", test_table_is_sorted);
    g_test_add_func("/iscsi/pdu/table-relations", test_table_relations);
    g_test_add_func("/iscsi/pdu/check/unknown-opcode", test_unknown_opcode);
    g_test_add_func("/iscsi/pdu/check/target-opcode-is-fatal", test_target_opcode_is_fatal);
    g_test_add_func("/iscsi/pdu/check/phases", test_phases);
    g_test_add_func("/iscsi/pdu/check/too-much-data-is-fatal", test_too_much_data_is_fatal);
    g_test_add_func("/iscsi/pdu/check/data-not-allowed", test_data_not_allowed);
    g_test_add_func("/iscsi/pdu/check/ahs-not-allowed", test_ahs_not_allowed);
    g_test_add_func("/iscsi/pdu/check/immediate-not-allowed", test_immediate_not_allowed);
    g_test_add_func("/iscsi/pdu/check/command-flags", test_command_flags);
    g_test_add_func("/iscsi/pdu/check/reserved-tag", test_reserved_tag);
    g_test_add_func("/iscsi/pdu/check/nop-out-without-answer", test_nop_out_without_answer);
    g_test_add_func("/iscsi/pdu/check/text-final-and-continued", test_text_final_and_continued);
    g_test_add_func("/iscsi/pdu/encode/scsi-response", test_encode_scsi_response);
    g_test_add_func("/iscsi/pdu/encode/data-in", test_encode_data_in);
    g_test_add_func("/iscsi/pdu/encode/r2t", test_encode_r2t);
    g_test_add_func("/iscsi/pdu/encode/small-responses", test_encode_small_responses);
    g_test_add_func("/iscsi/pdu/encode/reject", test_encode_reject);
    g_test_add_func("/iscsi/pdu/encode/text-response", test_encode_text_response);
    g_test_add_func("/iscsi/pdu/encode/login-response", test_encode_login_response);
    g_test_add_func("/iscsi/pdu/encode/async-message", test_encode_async_message);
    g_test_add_func("/iscsi/pdu/ahs/extended-cdb", test_ahs_extended_cdb);
    g_test_add_func("/iscsi/pdu/ahs/broken", test_ahs_broken);
    g_test_add_func("/iscsi/pdu/reject-names", test_reject_names);

    return g_test_run();
}
