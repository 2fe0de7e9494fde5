/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Log pages
 *
 * A table of pages with an encoder each; the lists of pages are the table
 * itself. A page is a header and log parameters in the order of their codes;
 * put_parameter() leaves out those below the PARAMETER POINTER.
 *
 * The counters are those of all workers together, since the last LOG SELECT
 * that reset them: the home worker asks each shard for its part and has the sum
 * at which each page with counters was reset, for LOG SELECT names pages and
 * two of them count the same. What a unit made of software does not have (a
 * temperature, spindle cycles) is told as unknown in the way the page provides
 * for.
 *
 * Counters have no thresholds: LOG SENSE is refused where it asks for them, and
 * LOG SELECT takes no list, with which alone they could be set. Lists of pages
 * and parameters that are lists have no page control to look at.
 */

#include <string.h>

#include "scsi/handlers.h"
#include "scsi/lu-change.h"
#include "scsi/operation.h"
#include "scsi/sbc.h"
#include "scsi/spc.h"
#include "util/bytes.h"

#define PAGE_LENGTH_MAX 1024

#define PAGE_DS  0x80 /* disable save */
#define PAGE_SPF 0x40

#define SUBPAGE_ALL 0xff

/* FORMAT AND LINKING; TSD, for nothing is saved */
enum {
    CONTROL_COUNTER = 0x20 | 0x02,
    CONTROL_ASCII = 0x20 | 0x01,
    CONTROL_BINARY = 0x20 | 0x03,
};

enum {
    PC_THRESHOLD = 0,
    PC_CUMULATIVE = 1,
    PC_DEFAULT_THRESHOLD = 2,
    PC_DEFAULT_CUMULATIVE = 3,
};

typedef struct {
    const Lu *lu;
    LuStatistics statistics;
    const guint64 *measured; /* bytes used below, NULL: unknown */
    guint16 pointer;         /* of the parameters, the first one wanted */
    guint16 last;            /* code that exists */
    guint8 *data;
    guint32 length;
} LogWriter;

typedef enum {
    PAGE_HAS_COUNTERS = 1 << 0,
    PAGE_THIN_ONLY = 1 << 1,
    PAGE_NEEDS_MEASURE = 1 << 2, /* of the store */
    PAGE_IS_LIST = 1 << 3,       /* of pages */
} LogPageFlags;

/* Which of Lu.log_bases is that of a page with counters */
enum {
    BASE_WRITE,
    BASE_READ,
    BASE_VERIFY,
    BASE_GENERAL,
    N_BASES,
};

G_STATIC_ASSERT(N_BASES == LU_LOG_BASES);

typedef struct {
    guint8 code;
    guint8 subpage;
    LogPageFlags flags;
    void (*encode)(LogWriter *writer);
    guint base;
} LogPage;

static void
put_parameter(LogWriter *writer, guint16 code, guint8 control, gconstpointer value, guint8 length)
{
    guint8 *p = writer->data + writer->length;

    writer->last = code;
    if (code < writer->pointer)
        return;

    put_be16(p, code);
    p[2] = control;
    p[3] = length;
    memcpy(p + 4, value, length);
    writer->length += 4U + length;
}

static void
put_counter(LogWriter *writer, guint16 code, guint64 count)
{
    guint8 value[8];

    put_be64(value, count);
    put_parameter(writer, code, CONTROL_COUNTER, value, sizeof(value));
}

/* Error counter pages (02h, 03h, 05h): bytes processed, uncorrected errors */
static void
put_errors(LogWriter *writer, guint64 n_bytes, guint64 n_failures)
{
    put_counter(writer, 0x0003, 0);
    put_counter(writer, 0x0005, n_bytes);
    put_counter(writer, 0x0006, n_failures);
}

static void
encode_write_errors(LogWriter *writer)
{
    put_errors(writer, writer->statistics.bytes_written, writer->statistics.n_write_failures);
}

static void
encode_read_errors(LogWriter *writer)
{
    put_errors(writer, writer->statistics.bytes_read, writer->statistics.n_read_failures);
}

static void
encode_verify_errors(LogWriter *writer)
{
    put_errors(writer, writer->statistics.bytes_verified, writer->statistics.n_verify_failures);
}

static void
encode_provisioning(LogWriter *writer)
{
    guint64 unit = (guint64)1 << (sbc_threshold_exponent(writer->lu) + writer->lu->block_shift);
    guint8 value[8] = { 0, 0, 0, 0, 0x01 /* dedicated to this unit */ };

    if (writer->measured == NULL)
        return;

    put_be32(value, (guint32)MIN((*writer->measured + unit - 1) / unit, G_MAXUINT32));
    put_parameter(writer, 0x0002, CONTROL_BINARY, value, sizeof(value));
}

static void
encode_temperature(LogWriter *writer)
{
    static const guint8 unknown[2] = { 0x00, 0xff };

    put_parameter(writer, 0x0000, CONTROL_BINARY, unknown, sizeof(unknown));
    put_parameter(writer, 0x0001, CONTROL_BINARY, unknown, sizeof(unknown));
}

static void
encode_start_stop(LogWriter *writer)
{
    static const guint8 zero[4];

    put_parameter(writer, 0x0001, CONTROL_ASCII, "      ", 6); /* date of manufacture */
    put_parameter(writer, 0x0002, CONTROL_ASCII, "      ", 6); /* accounting date */
    put_parameter(writer, 0x0003, CONTROL_BINARY, zero, sizeof(zero));
    put_parameter(writer, 0x0004, CONTROL_BINARY, zero, sizeof(zero));
}

/* Twenty results; those of the default self-test do not enter */
static void
encode_self_tests(LogWriter *writer)
{
    static const guint8 none[16];

    for (guint16 i = 1; i <= 20; i++)
        put_parameter(writer, i, CONTROL_BINARY, none, sizeof(none));
}

static void
encode_general_statistics(LogWriter *writer)
{
    const LuStatistics *s = &writer->statistics;
    guint shift = writer->lu->block_shift;
    guint8 value[64] = { 0 }, idle[8] = { 0 }, interval[8];

    put_be64(value, s->n_reads);
    put_be64(value + 8, s->n_writes);
    put_be64(value + 16, s->bytes_written >> shift);
    put_be64(value + 24, s->bytes_read >> shift);
    put_be64(value + 32, s->read_usec);
    put_be64(value + 40, s->write_usec);
    put_parameter(writer, 0x0001, CONTROL_COUNTER, value, sizeof(value));

    put_parameter(writer, 0x0002, CONTROL_COUNTER, idle, sizeof(idle)); /* not kept count of */

    /* The time interval of the above: 1 times 10 to the power of -6 seconds */
    put_be32(interval, 6);
    put_be32(interval + 4, 1);
    put_parameter(writer, 0x0003, CONTROL_BINARY, interval, sizeof(interval));
}

static void
encode_exceptions(LogWriter *writer)
{
    gboolean is_failed = backstore_is_failed(writer->lu->store);
    guint8 value[4] = { is_failed ? 0x5d : 0x00, 0x00, 0xff, 0x00 };

    put_parameter(writer, 0x0000, CONTROL_BINARY, value, sizeof(value));
}

static void encode_list(LogWriter *writer);
static void encode_list_with_subpages(LogWriter *writer);

/* clang-format off */
static const LogPage pages[] = {
    { 0x00, 0x00, PAGE_IS_LIST,      encode_list, 0 },
    { 0x00, 0xff, PAGE_IS_LIST,      encode_list_with_subpages, 0 },
    { 0x02, 0x00, PAGE_HAS_COUNTERS, encode_write_errors,       BASE_WRITE },
    { 0x03, 0x00, PAGE_HAS_COUNTERS, encode_read_errors,        BASE_READ },
    { 0x05, 0x00, PAGE_HAS_COUNTERS, encode_verify_errors,      BASE_VERIFY },
    { 0x0c, 0x00, PAGE_THIN_ONLY | PAGE_NEEDS_MEASURE, encode_provisioning, 0 },
    { 0x0d, 0x00, 0,                 encode_temperature, 0 },
    { 0x0e, 0x00, 0,                 encode_start_stop, 0 },
    { 0x10, 0x00, 0,                 encode_self_tests, 0 },
    { 0x19, 0x00, PAGE_HAS_COUNTERS, encode_general_statistics, BASE_GENERAL },
    { 0x2f, 0x00, 0,                 encode_exceptions, 0 },
};
/* clang-format on */

static gboolean
has_page(const Lu *lu, const LogPage *page)
{
    return !(page->flags & PAGE_THIN_ONLY) || lu->can_unmap;
}

static void
encode_list(LogWriter *writer)
{
    for (gsize i = 0; i < G_N_ELEMENTS(pages); i++) {
        if (pages[i].subpage == 0 && has_page(writer->lu, &pages[i]))
            writer->data[writer->length++] = pages[i].code;
    }
}

static void
encode_list_with_subpages(LogWriter *writer)
{
    for (gsize i = 0; i < G_N_ELEMENTS(pages); i++) {
        if (!has_page(writer->lu, &pages[i]))
            continue;
        writer->data[writer->length++] = pages[i].code;
        writer->data[writer->length++] = pages[i].subpage;
    }
}

static const LogPage *
find_page(const ScsiCommand *command, guint8 code, guint8 subpage)
{
    for (gsize i = 0; i < G_N_ELEMENTS(pages); i++) {
        if (pages[i].code == code && pages[i].subpage == subpage &&
            has_page(scsi_command_lu(command), &pages[i]))
            return &pages[i];
    }

    return NULL;
}

/*
 * Counters of all workers
 */

#define N_COUNTERS (sizeof(LuStatistics) / sizeof(guint64))

G_STATIC_ASSERT(sizeof(LuStatistics) % sizeof(guint64) == 0);
G_STATIC_ASSERT(sizeof(LuStatistics) <= LU_CHANGE_ROOM);

static void
add(LuStatistics *sum, const LuStatistics *part, gboolean subtract)
{
    guint64 a[N_COUNTERS], b[N_COUNTERS];

    memcpy(a, sum, sizeof(a));
    memcpy(b, part, sizeof(b));
    for (gsize i = 0; i < N_COUNTERS; i++)
        a[i] = subtract ? a[i] - b[i] : a[i] + b[i];
    memcpy(sum, a, sizeof(a));
}

static void
ask_statistics(LuShard *shard)
{
    shard->asked.statistics = shard->statistics;
}

static void
sum_up(const Lu *lu, LuStatistics *ret_sum)
{
    memset(ret_sum, 0, sizeof(*ret_sum));
    for (guint i = 0; i < lu->n_workers; i++)
        add(ret_sum, &lu->shards[i].asked.statistics, FALSE);
}

/*
 * LOG SENSE
 */

static void
send_page(ScsiCommand *command, const LogPage *page, const LuStatistics *statistics,
          const guint64 *measured)
{
    guint8 *data = command->data;
    LogWriter writer = {
        .lu = scsi_command_lu(command),
        .statistics = *statistics,
        .measured = measured,
        .pointer = get_be16(command->cdb + 5),
        .data = data + 4,
    };

    page->encode(&writer);
    g_assert(4 + writer.length <= PAGE_LENGTH_MAX);
    if (writer.pointer > writer.last) {
        scsi_command_fail_field(command, 5, 7);
        return;
    }

    data[0] = (guint8)(page->flags & PAGE_IS_LIST ? page->code : PAGE_DS | page->code);
    if (page->subpage != 0) {
        data[0] |= PAGE_SPF;
        data[1] = page->subpage;
    }
    put_be16(data + 2, (guint16)writer.length);
    scsi_command_reply(command, 4 + writer.length, get_be16(command->cdb + 7));
}

static void
on_counted(ScsiCommand *command)
{
    const LogPage *page = find_page(command, command->cdb[2] & 0x3f, command->cdb[3]);
    LuStatistics statistics;

    memcpy(&statistics, lu_change_of(command)->room, sizeof(statistics));
    send_page(command, page, &statistics, NULL);
}

static gboolean
update_sense(Lu *lu, LuChange *change)
{
    const ScsiCommand *command = change->command;
    const LogPage *page = find_page(command, command->cdb[2] & 0x3f, command->cdb[3]);
    LuStatistics sum;

    sum_up(lu, &sum);
    add(&sum, &lu->log_bases[page->base], TRUE);
    memcpy(change->room, &sum, sizeof(sum));
    return FALSE;
}

static void
count_and_send(ScsiCommand *command)
{
    LuChange *change = lu_change_new(command);

    if (change == NULL)
        return;

    change->ask = ask_statistics;
    change->update = update_sense;
    lu_change_run(change, on_counted);
}

static void
on_measured(ScsiCommand *command)
{
    const LogPage *page = find_page(command, command->cdb[2] & 0x3f, command->cdb[3]);
    LuStatistics zero = { 0 };

    send_page(command, page, &zero, command->io.result == 0 ? &command->io.n_mapped : NULL);
}

static void
on_measure_done(Io *io)
{
    scsi_command_errand_ended(list_entry(io, ScsiCommand, io), on_measured);
}

static void
measure_and_send(ScsiCommand *command)
{
    scsi_command_errand_started(command);
    command->io.done = on_measure_done;
    backstore_measure(scsi_command_lu(command)->store, command->nexus->worker, &command->io);
}

/* Subpage FFh of a page: the pages of its code that there are */
static void
send_subpages(ScsiCommand *command, guint8 code)
{
    guint8 *data = command->data;
    guint32 n = 4;

    for (gsize i = 0; i < G_N_ELEMENTS(pages); i++) {
        if (pages[i].code == code) {
            data[n++] = code;
            data[n++] = pages[i].subpage;
        }
    }

    data[n++] = code;
    data[n++] = SUBPAGE_ALL;
    data[0] = PAGE_SPF | code;
    data[1] = SUBPAGE_ALL;
    put_be16(data + 2, (guint16)(n - 4));
    scsi_command_reply(command, n, get_be16(command->cdb + 7));
}

void
log_sense(ScsiCommand *command)
{
    guint8 code = command->cdb[2] & 0x3f, subpage = command->cdb[3];
    guint control = command->cdb[2] >> 6;
    const LogPage *page = find_page(command, code, subpage);
    LuStatistics zero = { 0 };

    if (find_page(command, code, 0) == NULL) {
        scsi_command_fail_field(command, 2, 5);
        return;
    }
    if (page == NULL && subpage != SUBPAGE_ALL) {
        scsi_command_fail_field(command, 3, 7);
        return;
    }

    /* No counter has a threshold */
    if (page != NULL && page->flags & PAGE_HAS_COUNTERS &&
        (control == PC_THRESHOLD || control == PC_DEFAULT_THRESHOLD)) {
        scsi_command_fail_field(command, 2, 7);
        return;
    }

    if (!scsi_command_take_zeroed(command, POOL_BUFFER_MIN, log_sense))
        return;

    if (page == NULL)
        send_subpages(command, code);
    else if (page->flags & PAGE_HAS_COUNTERS && control == PC_CUMULATIVE)
        count_and_send(command);
    else if (page->flags & PAGE_NEEDS_MEASURE)
        measure_and_send(command);
    else
        send_page(command, page, &zero, NULL);
}

/*
 * LOG SELECT
 */

static void
on_reset(ScsiCommand *command)
{
    scsi_command_finish(command, SCSI_GOOD);
}

/* Whether the CDB means @page: the code 00h all pages, the subpage code FFh all of a page */
static gboolean
is_selected(const ScsiCommand *command, const LogPage *page)
{
    guint8 code = command->cdb[2] & 0x3f, subpage = command->cdb[3];

    if (code == 0 && subpage == 0)
        return TRUE;
    return page->code == code && (subpage == SUBPAGE_ALL || page->subpage == subpage);
}

static gboolean
update_select(Lu *lu, LuChange *change)
{
    gboolean any = FALSE;
    LuStatistics sum;

    sum_up(lu, &sum);
    for (gsize i = 0; i < G_N_ELEMENTS(pages); i++) {
        if (pages[i].flags & PAGE_HAS_COUNTERS && is_selected(change->command, &pages[i])) {
            lu->log_bases[pages[i].base] = sum;
            any = TRUE;
        }
    }
    return any;
}

/* Counters can be set back to zero, nothing else: there is no list that could be taken */
void
log_select(ScsiCommand *command)
{
    gboolean parameter_code_reset = (command->cdb[1] & 0x02) != 0;
    guint control = command->cdb[2] >> 6;
    guint8 code = command->cdb[2] & 0x3f, subpage = command->cdb[3];
    LuChange *change;

    if (get_be16(command->cdb + 7) != 0) {
        scsi_command_fail_field(command, 7, 7);
        return;
    }
    if (find_page(command, code, 0) == NULL) {
        scsi_command_fail_field(command, 2, 5);
        return;
    }
    if (subpage != SUBPAGE_ALL && find_page(command, code, subpage) == NULL) {
        scsi_command_fail_field(command, 3, 7);
        return;
    }

    if (!parameter_code_reset && control != PC_DEFAULT_CUMULATIVE) {
        scsi_command_finish(command, SCSI_GOOD);
        return;
    }

    change = lu_change_new(command);
    if (change == NULL)
        return;

    change->ask = ask_statistics;
    change->update = update_select;
    change->attention = SENSE_LOG_PARAMETERS_CHANGED;
    lu_change_run(change, on_reset);
}
