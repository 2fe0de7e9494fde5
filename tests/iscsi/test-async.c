/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * What initiators are told without having asked: drops, logout requests, SCSI
 * events, that there is something to negotiate. Workers without threads, initiators on socket pairs (which check that
 * each message uses up a StatSN), time that stands still until it is moved.
 */

#include "initiator.h"

#include <string.h>
#include <sys/socket.h>

#define SECOND USEC_PER_SEC

typedef struct {
    Rig *rig;
    Initiator *initiator;
} Bed;

static void
tell_events(IscsiTarget *target)
{
    target->async_events = TRUE;
}

static void
use_map(IscsiTarget *target, const LunEntry *entries, guint n)
{
    LunMap *map = lun_map_new(entries, n);

    snapshot_unref(&target->map->snapshot);
    target->map = map;
    target->async_events = TRUE;
}

/* The same unit a second time, at a number whose wire form is not that of 0 */
static void
add_lun(IscsiTarget *target)
{
    LunEntry entries[2] = { target->map->entries[0], target->map->entries[0] };

    entries[1].lun = 3;
    use_map(target, entries, 2);
}

static void
add_lun_quietly(IscsiTarget *target)
{
    add_lun(target);
    target->async_events = FALSE;
}

static void
remove_luns(IscsiTarget *target)
{
    use_map(target, NULL, 0);
}

static void
protect_second(IscsiTarget *target)
{
    LunEntry entries[2] = { target->map->entries[0], target->map->entries[0] };

    entries[1].lun = 3;
    entries[1].read_only = TRUE;
    use_map(target, entries, 2);
}

static Bed
bed_open(void (*adjust)(IscsiTarget *target))
{
    Bed bed = { .rig = rig_new(&(RigConfig){ .adjust = adjust }) };

    bed.initiator = initiator_new(bed.rig);
    g_assert_cmphex(initiator_login(bed.initiator, NULL), ==, 0);
    initiator_settle(bed.initiator);
    return bed;
}

static void
bed_close(Bed *bed)
{
    initiator_free(bed->initiator);
    rig_free(bed->rig);
}

static Initiator *
add_initiator(Rig *rig)
{
    Initiator *initiator = initiator_new(rig);

    initiator->isid[5] = 2;
    g_assert_cmphex(initiator_login(initiator, NULL), ==, 0);
    initiator_settle(initiator);
    return initiator;
}

static void
expect_event(Initiator *initiator, PduAsyncEvent event, guint parameter1, guint parameter2,
             guint parameter3)
{
    const guint8 *bhs = initiator->bhs;

    g_assert_true(initiator_poll(initiator));
    g_assert_cmphex(pdu_opcode(bhs), ==, PDU_ASYNC_MESSAGE);
    g_assert_cmphex(bhs[1], ==, 0x80);
    g_assert_cmphex(pdu_itt(bhs), ==, PDU_TAG_RESERVED);
    g_assert_cmpuint(bhs[36], ==, event);
    g_assert_cmpuint(get_be16(bhs + 38), ==, parameter1);
    g_assert_cmpuint(get_be16(bhs + 40), ==, parameter2);
    g_assert_cmpuint(get_be16(bhs + 42), ==, parameter3);
}

static void
expect_sense(Initiator *initiator, guint8 lun, guint16 code)
{
    expect_event(initiator, PDU_ASYNC_SCSI, 0, 0, 0);
    g_assert_cmpuint(initiator->bhs[9], ==, lun);
    g_assert_cmpuint(get_be16(initiator->data), ==, initiator->data_size - 2);
    g_assert_cmphex(initiator->data[2] & 0x7f, ==, 0x70);
    g_assert_cmphex(initiator->data[2 + 2], ==, 6);
    g_assert_cmphex(get_be16(initiator->data + 2 + 12), ==, code);
}

static guint32
send_read(Initiator *initiator, guint16 n_blocks)
{
    guint8 bhs[PDU_BHS_SIZE], cdb[10];

    initiator_cdb10(cdb, 0x28, 0, n_blocks);
    initiator_command(initiator, bhs, 0xc0, cdb, sizeof(cdb), n_blocks * 512u);
    initiator_send(initiator, bhs, NULL, 0);
    return pdu_itt(bhs);
}

/* Answers that nobody takes: nothing can be sent any more */
static void
fill_socket(Bed *bed)
{
    for (guint i = 0; i < 8; i++) {
        (void)send_read(bed->initiator, 1024);
        rig_settle(bed->rig);
    }
}

/* Drops */

static void
test_closed_session(void)
{
    Bed bed = bed_open(NULL);

    iscsi_service_close_session(bed.rig->service, bed.initiator->tsih, "wanted");
    expect_event(bed.initiator, PDU_ASYNC_SESSION_DROP, 0, 2, 0);
    g_assert_true(initiator_is_closed(bed.initiator));
    g_assert_cmpstr(rig_last_event(bed.rig, ISCSI_EVENT_SESSION_CLOSED)->reason, ==, "wanted");
    bed_close(&bed);
}

static void
test_removed_target(void)
{
    Bed bed = bed_open(NULL);
    gboolean is_done = FALSE;

    iscsi_service_remove_target(bed.rig->service, RIG_TARGET, rig_set_flag, &is_done);
    expect_event(bed.initiator, PDU_ASYNC_SESSION_DROP, 0, 2, 0);
    g_assert_true(initiator_is_closed(bed.initiator));
    rig_wait(bed.rig, &is_done);
    bed_close(&bed);
}

static void
test_stopped_service(void)
{
    Bed bed = bed_open(NULL);
    guint8 bhs[PDU_BHS_SIZE];

    rig_free(bed.rig);
    g_assert_cmpint(recv(bed.initiator->fd, bhs, sizeof(bhs), 0), ==, sizeof(bhs));
    g_assert_cmphex(pdu_opcode(bhs), ==, PDU_ASYNC_MESSAGE);
    g_assert_cmpuint(bhs[36], ==, PDU_ASYNC_SESSION_DROP);
    g_assert_cmpint(recv(bed.initiator->fd, bhs, sizeof(bhs), 0), ==, 0);
    initiator_free(bed.initiator);
}

/* Who does not read is not waited for */
static void
test_closed_while_blocked(void)
{
    Bed bed = bed_open(NULL);

    fill_socket(&bed);
    iscsi_service_close_session(bed.rig->service, bed.initiator->tsih, "wanted");
    rig_settle(bed.rig);
    g_assert_cmpuint(rig_count_events(bed.rig, ISCSI_EVENT_SESSION_CLOSED), ==, 1);
    bed_close(&bed);
}

static void
test_discovery_is_not_told(void)
{
    Rig *rig = rig_new(NULL);
    Initiator *initiator = initiator_new(rig);
    gboolean is_done = FALSE;

    g_assert_cmphex(initiator_login_discovery(initiator), ==, 0);
    (void)iscsi_service_request_logout(rig->service, NULL, 0, 5, rig_set_flag, &is_done);
    rig_wait(rig, &is_done);
    g_assert_false(initiator_poll(initiator));
    initiator_free(initiator);
    rig_free(rig);
}

/* Logout requests */

static void
test_logout_is_requested(void)
{
    Bed bed = bed_open(NULL);
    gboolean is_done = FALSE;

    (void)iscsi_service_request_logout(bed.rig->service, RIG_TARGET, 0, 7, rig_set_flag, &is_done);
    expect_event(bed.initiator, PDU_ASYNC_LOGOUT_REQUEST, 0, 0, 7);
    rig_settle(bed.rig);
    g_assert_false(is_done);

    /* Commands go on until it logs out */
    initiator_settle(bed.initiator);
    g_assert_cmphex(initiator_logout(bed.initiator), ==, PDU_LOGOUT_RESPONSE_CLOSED);
    rig_wait(bed.rig, &is_done);
    bed_close(&bed);
}

static void
test_deadline(void)
{
    Bed bed = bed_open(NULL);
    gboolean is_done = FALSE;

    (void)iscsi_service_request_logout(bed.rig->service, NULL, 0, 7, rig_set_flag, &is_done);
    expect_event(bed.initiator, PDU_ASYNC_LOGOUT_REQUEST, 0, 0, 7);
    clock_advance(&bed.rig->clock, 6 * SECOND);
    initiator_settle(bed.initiator);
    g_assert_false(is_done);
    clock_advance(&bed.rig->clock, SECOND);
    expect_event(bed.initiator, PDU_ASYNC_CONNECTION_DROP, 0, 2, 0);
    g_assert_true(initiator_is_closed(bed.initiator));
    rig_wait(bed.rig, &is_done);
    g_assert_cmpstr(rig_last_event(bed.rig, ISCSI_EVENT_SESSION_CLOSED)->reason, ==,
                    "the initiator did not log out in time");
    bed_close(&bed);
}

/* A request means who is there, not who comes */
static void
test_later_session_is_not_meant(void)
{
    Bed bed = bed_open(NULL);
    Initiator *later;
    gboolean is_done = FALSE;

    (void)iscsi_service_request_logout(bed.rig->service, RIG_TARGET, 0, 7, rig_set_flag, &is_done);
    expect_event(bed.initiator, PDU_ASYNC_LOGOUT_REQUEST, 0, 0, 7);
    later = add_initiator(bed.rig);
    (void)initiator_logout(bed.initiator);
    rig_wait(bed.rig, &is_done);
    clock_advance(&bed.rig->clock, 8 * SECOND);
    initiator_settle(later);
    initiator_free(later);
    bed_close(&bed);
}

static void
test_one_session_is_meant(void)
{
    Bed bed = bed_open(NULL);
    Initiator *other = add_initiator(bed.rig);
    gboolean is_done = FALSE;

    (void)iscsi_service_request_logout(bed.rig->service, NULL, other->tsih, 7, rig_set_flag,
                                       &is_done);
    expect_event(other, PDU_ASYNC_LOGOUT_REQUEST, 0, 0, 7);
    g_assert_false(initiator_poll(bed.initiator));
    (void)initiator_logout(other);
    rig_wait(bed.rig, &is_done);
    initiator_settle(bed.initiator);
    initiator_free(other);
    bed_close(&bed);
}

static void
test_nobody_is_meant(void)
{
    Bed bed = bed_open(NULL);
    gboolean is_done = FALSE;

    (void)iscsi_service_request_logout(bed.rig->service, "iqn.2026-11.org.lunport:other", 0, 7,
                                       rig_set_flag, &is_done);
    g_assert_false(is_done);
    rig_wait(bed.rig, &is_done);
    g_assert_false(initiator_poll(bed.initiator));
    bed_close(&bed);
}

static void
test_cancelled(void)
{
    Bed bed = bed_open(NULL);
    gboolean is_done = FALSE;
    guint32 request =
        iscsi_service_request_logout(bed.rig->service, NULL, 0, 7, rig_set_flag, &is_done);

    g_assert_cmpuint(request, !=, 0);
    expect_event(bed.initiator, PDU_ASYNC_LOGOUT_REQUEST, 0, 0, 7);
    iscsi_service_cancel_logout(bed.rig->service, request + 1);
    rig_settle(bed.rig);
    g_assert_false(is_done);
    iscsi_service_cancel_logout(bed.rig->service, request);
    rig_wait(bed.rig, &is_done);
    clock_advance(&bed.rig->clock, 8 * SECOND);
    initiator_settle(bed.initiator);

    /* That of a request which is over does nothing */
    iscsi_service_cancel_logout(bed.rig->service, request);
    bed_close(&bed);
}

/* The earlier time counts, and one that is cancelled does not end the other */
static void
test_overlapping_requests(void)
{
    Bed bed = bed_open(NULL);
    gboolean first = FALSE, second = FALSE;
    guint32 request =
        iscsi_service_request_logout(bed.rig->service, NULL, 0, 5, rig_set_flag, &first);

    (void)iscsi_service_request_logout(bed.rig->service, RIG_TARGET, 0, 9, rig_set_flag, &second);
    rig_settle(bed.rig);
    iscsi_service_cancel_logout(bed.rig->service, request);
    rig_wait(bed.rig, &first);
    clock_advance(&bed.rig->clock, 6 * SECOND);
    rig_settle(bed.rig);
    g_assert_false(second);
    clock_advance(&bed.rig->clock, 4 * SECOND);
    g_assert_true(initiator_is_closed(bed.initiator));
    rig_wait(bed.rig, &second);
    bed_close(&bed);
}

static void
test_stop_ends_a_request(void)
{
    Bed bed = bed_open(NULL);
    gboolean is_done = FALSE;

    (void)iscsi_service_request_logout(bed.rig->service, NULL, 0, 600, rig_set_flag, &is_done);
    rig_settle(bed.rig);
    bed_close(&bed);
    g_assert_true(is_done);
}

/* SCSI events */

static void
test_events_are_off(void)
{
    Bed bed = bed_open(NULL);

    rig_set_target(bed.rig, add_lun_quietly);
    g_assert_false(initiator_poll(bed.initiator));
    initiator_settle(bed.initiator);

    /* What has happened before they are turned on is not told */
    rig_set_target(bed.rig, add_lun);
    g_assert_false(initiator_poll(bed.initiator));
    rig_set_target(bed.rig, tell_events);
    expect_sense(bed.initiator, 0, 0x3f0e);
    bed_close(&bed);
}

static void
test_luns_changed(void)
{
    Bed bed = bed_open(tell_events);
    Outcome outcome;

    rig_set_target(bed.rig, add_lun);
    expect_sense(bed.initiator, 0, 0x3f0e);
    g_assert_false(initiator_poll(bed.initiator));

    /* The unit attention is pending all the same */
    g_assert_true(initiator_run(bed.initiator, (guint8[6]){ 0 }, 6, NULL, 0, NULL, 0, &outcome));
    g_assert_cmphex(outcome.status, ==, 0x02);
    g_assert_cmphex(get_be16(outcome.sense + 12), ==, 0x3f0e);

    rig_set_target(bed.rig, remove_luns);
    expect_sense(bed.initiator, 0, 0x3f0e);
    bed_close(&bed);
}

static void
test_mode_parameters_changed(void)
{
    Bed bed = bed_open(add_lun);

    rig_set_target(bed.rig, protect_second);
    expect_sense(bed.initiator, 3, 0x2a01);
    g_assert_false(initiator_poll(bed.initiator));
    bed_close(&bed);
}

static void
on_resized(Lu *lu, gboolean success, gpointer user_data)
{
    g_assert_true(success);
    rig_set_flag(user_data);
}

static void
test_capacity_changed(void)
{
    Bed bed = bed_open(tell_events);
    gboolean is_done = FALSE;

    lu_set_size(bed.rig->lu, 32 << 20, &bed.rig->control, on_resized, &is_done);
    rig_wait(bed.rig, &is_done);
    expect_sense(bed.initiator, 0, 0x2a09);
    g_assert_false(initiator_poll(bed.initiator));
    bed_close(&bed);
}

/* However often it happens while the initiator does not read, it is told once */
static void
test_events_are_bounded(void)
{
    Bed bed = bed_open(tell_events);
    guint n_events = 0;

    fill_socket(&bed);
    for (guint i = 0; i < 50; i++)
        rig_set_target(bed.rig, i % 2 == 0 ? add_lun : tell_events);

    while (initiator_poll(bed.initiator))
        n_events += pdu_opcode(bed.initiator->bhs) == PDU_ASYNC_MESSAGE;
    g_assert_cmpuint(n_events, >=, 1);
    g_assert_cmpuint(n_events, <=, 3);
    bed_close(&bed);
}

/* Negotiation requests */

#define SMALL 4096
#define LARGE 65536

static void
offer_small(IscsiTarget *target)
{
    target->params.max_recv_data_segment_length = SMALL;
    target->async_events = TRUE;
}

static void
offer_large(IscsiTarget *target)
{
    target->params.max_recv_data_segment_length = LARGE;
    target->async_events = TRUE;
}

static void
offer_small_quietly(IscsiTarget *target)
{
    target->params.max_recv_data_segment_length = SMALL;
}

static void
offer_small_and_add_lun(IscsiTarget *target)
{
    add_lun(target);
    offer_small(target);
}

static void
offer_recovery_and_large(IscsiTarget *target)
{
    offer_large(target);
    target->params.error_recovery_level = 1;
}

static void
expect_negotiation_request(Initiator *initiator)
{
    expect_event(initiator, PDU_ASYNC_RENEGOTIATE, 0, 0, 10);
    g_assert_cmpuint(initiator->data_size, ==, 0);
    g_assert_cmphex(get_be64(initiator->bhs + 8), ==, 0);
}

static void
send_text(Initiator *initiator, guint8 flags, guint32 itt, guint32 ttt, const char *text)
{
    guint8 bhs[PDU_BHS_SIZE];

    initiator_header(initiator, bhs, PDU_TEXT_REQUEST, flags);
    if (ttt != PDU_TAG_RESERVED)
        put_be32(bhs + 16, itt);
    put_be32(bhs + 20, ttt);
    initiator_send(initiator, bhs, text, text[0] != '\0' ? strlen(text) + 1 : 0);
}

/* One pair, or nothing at all */
static void
expect_text(Initiator *initiator, const char *expected)
{
    gsize size = expected[0] != '\0' ? strlen(expected) + 1 : 0;

    g_assert_true(initiator_poll(initiator));
    g_assert_cmphex(pdu_opcode(initiator->bhs), ==, PDU_TEXT_RESPONSE);
    g_assert_cmpmem(initiator->data, (int)initiator->data_size, expected, (int)size);
}

/* An exchange of one request, and its whole answer */
static void
expect_answer(Initiator *initiator, const char *text, const char *expected)
{
    send_text(initiator, PDU_FINAL, 0, PDU_TAG_RESERVED, text);
    expect_text(initiator, expected);
    g_assert_true(pdu_is_final(initiator->bhs));
}

/* All of it in Data-Out of at most @pdu_max bytes */
static void
write_solicited(Initiator *initiator, guint32 pdu_max)
{
    static const guint8 data[LARGE];

    initiator->max_xmit = pdu_max;
    initiator->immediate_data = FALSE;
    initiator->initial_r2t = TRUE;
    initiator_write(initiator, 0, LARGE / 512, data);
}

/* Take what waits for an initiator that did not read; how many negotiation requests there were */
static guint
take_requests(Initiator *initiator)
{
    guint n = 0;

    while (initiator_poll(initiator))
        n += pdu_opcode(initiator->bhs) == PDU_ASYNC_MESSAGE &&
             initiator->bhs[36] == PDU_ASYNC_RENEGOTIATE;
    return n;
}

static void
test_negotiation_is_requested(void)
{
    Bed bed = bed_open(offer_large);

    rig_set_target(bed.rig, offer_small);
    expect_negotiation_request(bed.initiator);
    g_assert_false(initiator_poll(bed.initiator));

    /* Another change is no reason to ask again for the same */
    rig_set_target(bed.rig, offer_small_and_add_lun);
    expect_sense(bed.initiator, 0, 0x3f0e);
    g_assert_false(initiator_poll(bed.initiator));
    bed_close(&bed);
}

static void
test_negotiation_is_off(void)
{
    Bed bed = bed_open(NULL);

    rig_set_target(bed.rig, offer_small_quietly);
    g_assert_false(initiator_poll(bed.initiator));
    expect_answer(bed.initiator, "", "");

    /* It is still to be said when they are turned on */
    rig_set_target(bed.rig, offer_small);
    expect_negotiation_request(bed.initiator);
    bed_close(&bed);
}

static void
test_negotiation_of_nothing(void)
{
    Bed bed = bed_open(offer_small);

    rig_set_target(bed.rig, offer_small);
    g_assert_false(initiator_poll(bed.initiator));
    expect_answer(bed.initiator, "", "");
    expect_answer(bed.initiator, "MaxRecvDataSegmentLength=16384", "");
    bed_close(&bed);
}

static void
test_change_taken_back(void)
{
    Bed bed = bed_open(offer_large);

    fill_socket(&bed);
    rig_set_target(bed.rig, offer_small);
    rig_set_target(bed.rig, offer_large);
    g_assert_cmpuint(take_requests(bed.initiator), ==, 0);
    expect_answer(bed.initiator, "", "");

    fill_socket(&bed);
    rig_set_target(bed.rig, offer_small);
    g_assert_cmpuint(take_requests(bed.initiator), ==, 1);

    /* Taken back when it was asked already: there is nothing to declare */
    rig_set_target(bed.rig, offer_large);
    expect_answer(bed.initiator, "", "");
    rig_set_target(bed.rig, offer_small);
    expect_negotiation_request(bed.initiator);
    bed_close(&bed);
}

static void
test_negotiations_are_bounded(void)
{
    Bed bed = bed_open(offer_large);

    fill_socket(&bed);
    for (guint i = 0; i < 51; i++)
        rig_set_target(bed.rig, i % 2 == 0 ? offer_small : offer_large);
    g_assert_cmpuint(take_requests(bed.initiator), ==, 1);
    bed_close(&bed);
}

/* What the initiator sends may be as long as it was told before: it may be on its way already */
static void
test_smaller_is_declared(void)
{
    Bed bed = bed_open(offer_large);

    rig_set_target(bed.rig, offer_small);
    expect_negotiation_request(bed.initiator);
    write_solicited(bed.initiator, LARGE);
    expect_answer(bed.initiator, "", "MaxRecvDataSegmentLength=4096");
    write_solicited(bed.initiator, LARGE);
    write_solicited(bed.initiator, SMALL);

    expect_answer(bed.initiator, "", "");
    g_assert_false(initiator_poll(bed.initiator));
    bed_close(&bed);
}

static void
test_larger_is_declared(void)
{
    Bed bed = bed_open(offer_small);

    rig_set_target(bed.rig, offer_large);
    expect_negotiation_request(bed.initiator);
    write_solicited(bed.initiator, SMALL);
    expect_answer(bed.initiator, "", "MaxRecvDataSegmentLength=65536");
    write_solicited(bed.initiator, LARGE);
    bed_close(&bed);
}

/* What was not declared does not count */
static void
test_larger_is_refused_before(void)
{
    Bed bed = bed_open(offer_small);
    guint8 bhs[PDU_BHS_SIZE];
    static const guint8 data[SMALL + 512];

    rig_set_target(bed.rig, offer_large);
    expect_negotiation_request(bed.initiator);
    initiator_header(bed.initiator, bhs, PDU_NOP_OUT, PDU_FINAL);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    initiator_send(bed.initiator, bhs, data, sizeof(data));
    g_assert_true(initiator_poll(bed.initiator));
    g_assert_cmphex(pdu_opcode(bed.initiator->bhs), ==, PDU_REJECT);
    bed_close(&bed);
}

static void
test_both_declare(void)
{
    Bed bed = bed_open(offer_large);
    guint8 data[32 * 512];

    rig_set_target(bed.rig, offer_small);
    expect_negotiation_request(bed.initiator);
    expect_answer(bed.initiator, "MaxRecvDataSegmentLength=1024", "MaxRecvDataSegmentLength=4096");

    /* That of the initiator holds too */
    (void)send_read(bed.initiator, 32);
    for (guint i = 0; i < sizeof(data) / 1024; i++) {
        g_assert_true(initiator_poll(bed.initiator));
        g_assert_cmphex(pdu_opcode(bed.initiator->bhs), ==, PDU_DATA_IN);
        g_assert_cmpuint(bed.initiator->data_size, ==, 1024);
    }
    bed_close(&bed);
}

/* An initiator with a Text Request pending need not send another: it is asked after that */
static void
test_exchange_under_way(void)
{
    Bed bed = bed_open(offer_large);
    Initiator *initiator = bed.initiator;

    send_text(initiator, 0, 0, PDU_TAG_RESERVED, "X-a=1");
    expect_text(initiator, "X-a=NotUnderstood");
    g_assert_false(pdu_is_final(initiator->bhs));
    rig_set_target(bed.rig, offer_small);
    g_assert_false(initiator_poll(initiator));

    send_text(initiator, PDU_FINAL, pdu_itt(initiator->bhs), pdu_ttt(initiator->bhs), "");
    expect_text(initiator, "");
    g_assert_true(pdu_is_final(initiator->bhs));
    expect_negotiation_request(initiator);
    expect_answer(initiator, "", "MaxRecvDataSegmentLength=4096");
    g_assert_false(initiator_poll(initiator));
    bed_close(&bed);
}

/* The change comes after the answer was made: the exchange is over then, and it is asked again */
static void
test_change_during_negotiation(void)
{
    Bed bed = bed_open(offer_large);
    Initiator *initiator = bed.initiator;

    rig_set_target(bed.rig, offer_small);
    expect_negotiation_request(initiator);
    send_text(initiator, 0, 0, PDU_TAG_RESERVED, "");
    expect_text(initiator, "MaxRecvDataSegmentLength=4096");
    rig_set_target(bed.rig, offer_large);
    send_text(initiator, PDU_FINAL, pdu_itt(initiator->bhs), pdu_ttt(initiator->bhs), "");
    expect_text(initiator, "");
    expect_negotiation_request(initiator);
    expect_answer(initiator, "", "MaxRecvDataSegmentLength=65536");
    bed_close(&bed);
}

/* Where answers are kept, the exchange is over when its last one is acknowledged */
static void
test_exchange_is_not_acknowledged(void)
{
    Bed bed = { .rig = rig_new(&(RigConfig){ .adjust = offer_recovery_and_large }) };
    guint8 bhs[PDU_BHS_SIZE];

    bed.initiator = initiator_new(bed.rig);
    g_assert_cmphex(initiator_login(bed.initiator, "ErrorRecoveryLevel=1"), ==, 0);
    initiator_settle(bed.initiator);
    expect_answer(bed.initiator, "", "");
    rig_set_target(bed.rig, offer_small);
    g_assert_false(initiator_poll(bed.initiator));

    initiator_header(bed.initiator, bhs, PDU_NOP_OUT | PDU_IMMEDIATE, PDU_FINAL);
    put_be32(bhs + 16, PDU_TAG_RESERVED);
    put_be32(bhs + 20, PDU_TAG_RESERVED);
    initiator_send(bed.initiator, bhs, NULL, 0);
    expect_negotiation_request(bed.initiator);
    expect_answer(bed.initiator, "", "MaxRecvDataSegmentLength=4096");
    bed_close(&bed);
}

/* A request that is rejected has not answered what was asked */
static void
test_rejected_answer(void)
{
    Bed bed = bed_open(offer_large);
    Initiator *initiator = bed.initiator;

    rig_set_target(bed.rig, offer_small);
    expect_negotiation_request(initiator);
    send_text(initiator, PDU_FINAL, 0, PDU_TAG_RESERVED, "nothing");
    g_assert_true(initiator_poll(initiator));
    while (pdu_opcode(initiator->bhs) != PDU_REJECT)
        g_assert_true(initiator_poll(initiator));
    /* RFC 7143 7.3: its CmdSN has to come again */
    initiator->cmd_sn--;
    expect_answer(initiator, "", "MaxRecvDataSegmentLength=4096");
    bed_close(&bed);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/iscsi/async/drop/of-a-session", test_closed_session);
    g_test_add_func("/iscsi/async/drop/with-the-target", test_removed_target);
    g_test_add_func("/iscsi/async/drop/with-the-service", test_stopped_service);
    g_test_add_func("/iscsi/async/drop/does-not-wait", test_closed_while_blocked);
    g_test_add_func("/iscsi/async/logout/is-requested", test_logout_is_requested);
    g_test_add_func("/iscsi/async/logout/deadline", test_deadline);
    g_test_add_func("/iscsi/async/logout/later-session-is-not-meant",
                    test_later_session_is_not_meant);
    g_test_add_func("/iscsi/async/logout/one-session", test_one_session_is_meant);
    g_test_add_func("/iscsi/async/logout/nobody", test_nobody_is_meant);
    g_test_add_func("/iscsi/async/logout/discovery-is-not-meant", test_discovery_is_not_told);
    g_test_add_func("/iscsi/async/logout/cancelled", test_cancelled);
    g_test_add_func("/iscsi/async/logout/overlapping", test_overlapping_requests);
    g_test_add_func("/iscsi/async/logout/stop-ends-it", test_stop_ends_a_request);
    g_test_add_func("/iscsi/async/events/off", test_events_are_off);
    g_test_add_func("/iscsi/async/events/luns-changed", test_luns_changed);
    g_test_add_func("/iscsi/async/events/mode-parameters-changed", test_mode_parameters_changed);
    g_test_add_func("/iscsi/async/events/capacity-changed", test_capacity_changed);
    g_test_add_func("/iscsi/async/events/bounded", test_events_are_bounded);
    g_test_add_func("/iscsi/async/negotiation/is-requested", test_negotiation_is_requested);
    g_test_add_func("/iscsi/async/negotiation/off", test_negotiation_is_off);
    g_test_add_func("/iscsi/async/negotiation/of-nothing", test_negotiation_of_nothing);
    g_test_add_func("/iscsi/async/negotiation/taken-back", test_change_taken_back);
    g_test_add_func("/iscsi/async/negotiation/bounded", test_negotiations_are_bounded);
    g_test_add_func("/iscsi/async/negotiation/smaller", test_smaller_is_declared);
    g_test_add_func("/iscsi/async/negotiation/larger", test_larger_is_declared);
    g_test_add_func("/iscsi/async/negotiation/larger-not-yet", test_larger_is_refused_before);
    g_test_add_func("/iscsi/async/negotiation/both-declare", test_both_declare);
    g_test_add_func("/iscsi/async/negotiation/exchange-under-way", test_exchange_under_way);
    g_test_add_func("/iscsi/async/negotiation/exchange-not-acknowledged",
                    test_exchange_is_not_acknowledged);
    g_test_add_func("/iscsi/async/negotiation/change-meanwhile", test_change_during_negotiation);
    g_test_add_func("/iscsi/async/negotiation/rejected-answer", test_rejected_answer);
    return g_test_run();
}
