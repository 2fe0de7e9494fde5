/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Nothing of an aborted command happens after the answer to what aborted it
 *
 * Several sessions on two workers write to one logical unit whose store is slow at random, and at
 * random commands are aborted, the unit is reset, task sets are cleared, sockets are closed, sessions
 * are reinstated, logged out and closed by the service. Who checks it is the data. The disk is cut
 * into regions, each written by at most one command at a time. When something has ended a write, its
 * region is read at once: each block must be what it was or what was being written. From then on the
 * region must not change until the next write to it begins; this is looked at again and again, by any
 * session, until the end.
 *
 * A command of another session that a reset ends is answered with TASK ABORTED, or was done before;
 * either way its region stands still from the answer to the reset on.
 *
 * Nothing comes of a command either, on any connection of its session, behind the answer to what has
 * ended it: the peers check that (test-tmf.c says why it may be asked for). A third of the sessions
 * each has one of the values of TaskReporting.
 *
 * LUNPORT_STORM_SECONDS sets the time (default 3, with -m slow 600). The seed is GLib's (--seed).
 */

#include "peer.h"

#include <poll.h>
#include <string.h>

#define BLOCK         512
#define N_REGIONS     48
#define REGION_BLOCKS 96
#define REGION_SIZE   ((gsize)REGION_BLOCKS * BLOCK)
#define N_SESSIONS    6
#define LINKS_MAX     3
#define WRITES_MAX    6   /* of a session at a time */
#define MANAGES_MAX   4   /* task management requests at a time, the same */
#define QUIET_MAX     120 /* seconds without anything */

typedef struct {
    guint index;
    guint8 *content; /* what is in it */
    guint8 *wanted;  /* what is being written, in whole */
    guint n_wanted;  /* blocks of that */

    PeerCommand *write; /* under way, or NULL */
    gboolean is_frozen; /* something that ends the write was answered */
    gboolean is_read;   /* since then */
    gboolean has_read_job;
    gboolean is_good; /* the write was done after all */
    guint n_checks;   /* reads under way that must find @content */
} Region;

typedef enum {
    JOB_WRITE,
    JOB_LOOK,  /* what became of a write */
    JOB_CHECK, /* nothing has changed */
    JOB_ABORT,
    JOB_RESET, /* of several tasks */
} JobKind;

typedef struct {
    JobKind kind;
    guint session;
    PeerCommand *command;
    Region *region;
    guint8 *data;
    PeerCommand *subject; /* JOB_ABORT */
    guint32 subject_itt;
    gboolean is_for_all;            /* JOB_RESET: of other sessions too */
    guint32 exp_cmd_sn[N_SESSIONS]; /* when it was sent: commands below were there */
} Job;

typedef struct {
    Rig *rig;
    guint n_links; /* connections of each session */
    Peer *peers[N_SESSIONS];
    guint n_writes[N_SESSIONS];
    Region regions[N_REGIONS];
    GPtrArray *jobs;
    gint64 moved_at;
    guint64 tag;

    /* what happened */
    guint n_good, n_aborted_answers, n_looks, n_partial, n_checks, n_aborts, n_resets, n_ends;
} Storm;

static guint
pick(guint n)
{
    return (guint)g_test_rand_int_range(0, (gint32)n);
}

/* Patterns */

static void
make_pattern(Storm *storm, guint8 *data, guint n_blocks)
{
    guint64 tag = ++storm->tag;

    for (gsize i = 0; i < (gsize)n_blocks * BLOCK; i += 8)
        put_be64(data + i, tag << 16 | i / BLOCK);
}

/* Every block is the old one or the new one */
static void
judge_look(Storm *storm, Region *region, const guint8 *data)
{
    guint n_new = 0;

    for (guint i = 0; i < REGION_BLOCKS; i++) {
        gsize at = (gsize)i * BLOCK;

        if (i < region->n_wanted && memcmp(data + at, region->wanted + at, BLOCK) == 0)
            n_new++;
        else
            g_assert_true(memcmp(data + at, region->content + at, BLOCK) == 0);
    }
    storm->n_partial += n_new != 0 && n_new != region->n_wanted;
    if (region->is_good)
        g_assert_cmpuint(n_new, ==, region->n_wanted);
}

/* Jobs */

static void
job_free(gpointer data)
{
    Job *job = data;

    g_free(job->data);
    g_free(job);
}

static Job *
job_new(Storm *storm, JobKind kind, guint session)
{
    Job *job = g_new0(Job, 1);

    job->kind = kind;
    job->session = session;
    g_ptr_array_add(storm->jobs, job);
    return job;
}

static gboolean
is_idle(const Region *region)
{
    return region->write == NULL && !region->is_frozen;
}

static void
start_write(Storm *storm, guint session, Region *region)
{
    guint8 cdb[10];
    Job *job = job_new(storm, JOB_WRITE, session);

    region->n_wanted = 1 + pick(REGION_BLOCKS);
    region->is_good = region->is_read = FALSE;
    make_pattern(storm, region->wanted, region->n_wanted);
    initiator_cdb10(cdb, 0x2a, region->index * REGION_BLOCKS, (guint16)region->n_wanted);
    job->region = region;
    job->command = peer_command(storm->peers[session], pick(storm->n_links),
                                pick(8) == 0 ? PDU_ATTR_ORDERED : PDU_ATTR_SIMPLE, cdb, sizeof(cdb),
                                region->wanted, region->n_wanted * BLOCK, NULL, 0);
    region->write = job->command;
    storm->n_writes[session]++;
    peer_send(job->command);
}

static void
start_read(Storm *storm, JobKind kind, guint session, Region *region)
{
    guint8 cdb[10];
    Job *job = job_new(storm, kind, session);

    job->region = region;
    job->data = g_malloc(REGION_SIZE);
    initiator_cdb10(cdb, 0x28, region->index * REGION_BLOCKS, REGION_BLOCKS);
    job->command = peer_command(storm->peers[session], pick(storm->n_links), PDU_ATTR_SIMPLE, cdb,
                                sizeof(cdb), NULL, 0, job->data, REGION_SIZE);
    if (kind == JOB_LOOK)
        region->has_read_job = TRUE;
    else
        region->n_checks++;
    peer_send(job->command);
}

static void
start_abort(Storm *storm, const Job *write)
{
    Job *job = job_new(storm, JOB_ABORT, write->session);

    job->subject = write->command;
    job->subject_itt = pdu_itt(write->command->bhs);
    job->region = write->region;
    /* It must be sent where the command was, RFC 7143 11.5.1 */
    job->command = peer_manage(storm->peers[write->session], write->command->link->cid,
                               PDU_TMF_ABORT_TASK, write->command);
    storm->n_aborts++;
}

static void
start_reset(Storm *storm, guint session, PduTmf function)
{
    Job *job = job_new(storm, JOB_RESET, session);

    /* There is a task set for each nexus (TST=001b) */
    job->is_for_all = function == PDU_TMF_LOGICAL_UNIT_RESET;
    for (guint i = 0; i < N_SESSIONS; i++)
        job->exp_cmd_sn[i] = storm->peers[i]->exp_cmd_sn;
    /* In its own session all that was sent comes before it (RFC 7143 4.2.3.3) */
    job->exp_cmd_sn[session] = storm->peers[session]->cmd_sn;
    job->command = peer_manage(storm->peers[session], pick(storm->n_links), function, NULL);
    storm->n_resets++;
}

/* Ends */

/* From now on it must stay as it is; look_after() reads what that is */
static void
freeze(Region *region)
{
    region->is_frozen = TRUE;
}

static void
end_write(Storm *storm, Job *job)
{
    Region *region = job->region;

    storm->n_writes[job->session]--;
    region->write = NULL;
    if (job->command->is_given_up || job->command->status != 0) {
        storm->n_aborted_answers += !job->command->is_given_up;
        freeze(region);
        return;
    }

    storm->n_good++;
    region->is_good = TRUE;
    if (!region->is_frozen)
        memcpy(region->content, region->wanted, (gsize)region->n_wanted * BLOCK);
    else if (region->is_read)
        judge_look(storm, region, region->content);
}

static void
end_look(Storm *storm, Job *job)
{
    Region *region = job->region;

    region->has_read_job = FALSE;
    if (job->command->is_given_up || job->command->status != 0)
        return; /* another one is started */

    storm->n_looks++;
    judge_look(storm, region, job->data);
    memcpy(region->content, job->data, REGION_SIZE);
    region->is_read = TRUE;
}

static void
end_check(Storm *storm, Job *job)
{
    job->region->n_checks--;
    if (job->command->is_given_up || job->command->status != 0)
        return;

    storm->n_checks++;
    g_assert_true(memcmp(job->data, job->region->content, REGION_SIZE) == 0);
}

static void
end_abort(Storm *storm, Job *job)
{
    Region *region = job->region;

    if (job->command->is_given_up || job->command->is_rejected)
        return;
    /* Its answer came before (RFC 7143 11.6.1), or a reset ends it whose own answer is to come */
    if (job->command->status == PDU_TMF_RESPONSE_NO_TASK)
        return;
    g_assert_cmpuint(job->command->status, ==, PDU_TMF_RESPONSE_COMPLETE);
    if (region->write != job->subject || pdu_itt(job->subject->bhs) != job->subject_itt ||
        job->subject->is_done)
        return;

    /* It will have no answer any more */
    freeze(region);
    peer_give_up(job->subject);
}

static void
end_reset(Storm *storm, Job *job)
{
    if (job->command->is_given_up || job->command->is_rejected)
        return;
    g_assert_cmpuint(job->command->status, ==, PDU_TMF_RESPONSE_COMPLETE);
    for (guint i = 0; i < storm->jobs->len; i++) {
        Job *other = storm->jobs->pdata[i];
        gboolean is_own = other->session == job->session;

        if (other->command->kind != PEER_SCSI || other->command->is_done ||
            (!is_own && !job->is_for_all) ||
            (gint32)(pdu_cmd_sn(other->command->bhs) - job->exp_cmd_sn[other->session]) >= 0)
            continue;
        if (other->kind == JOB_WRITE)
            freeze(other->region);
        if (is_own)
            peer_give_up(other->command);
    }
}

static void
end_job(Storm *storm, Job *job)
{
    switch (job->kind) {
    case JOB_WRITE:
        end_write(storm, job);
        break;
    case JOB_LOOK:
        end_look(storm, job);
        break;
    case JOB_CHECK:
        end_check(storm, job);
        break;
    case JOB_ABORT:
        end_abort(storm, job);
        break;
    case JOB_RESET:
        end_reset(storm, job);
        break;
    }
}

/* What is done is taken off the list; the ends of some give others up */
static void
end_jobs(Storm *storm)
{
    gboolean has_any = TRUE;

    while (has_any) {
        has_any = FALSE;
        for (guint i = storm->jobs->len; i-- > 0;) {
            Job *job = storm->jobs->pdata[i];

            if (!job->command->is_done)
                continue;
            has_any = TRUE;
            storm->moved_at = g_get_monotonic_time();
            end_job(storm, job);
            peer_release(job->command);
            (void)g_ptr_array_remove_index_fast(storm->jobs, i);
        }
    }
}

/* Sessions */

#define KEYS                                                                                       \
    "InitialR2T=No\nImmediateData=Yes\nFirstBurstLength=8192\nMaxBurstLength=16384\n"              \
    "MaxOutstandingR2T=2\nTaskReporting="

static Peer *
log_in(Storm *storm, guint session)
{
    static const char *const keys[] = { KEYS "RFC3720", KEYS "ResponseFence", KEYS "FastAbort" };
    PeerConfig config = { .n_links = storm->n_links,
                          .keys = keys[session % G_N_ELEMENTS(keys)],
                          .isid = (guint8)session,
                          .send = 4096 };
    guint16 status;
    Peer *peer = peer_new(storm->rig, &config, &status);

    g_assert_cmphex(status, ==, 0);
    return peer;
}

typedef enum {
    END_SOCKET,
    END_REINSTATED,
    END_LOGOUT,
    END_SERVICE,
    N_ENDS,
} End;

static gboolean
is_alive(const Peer *peer)
{
    for (guint i = 0; i < peer->n_links; i++) {
        if (!peer->links[i].is_alive)
            return FALSE;
    }
    return TRUE;
}

/* When the new session is there, nothing of the old one happens any more (RFC 7143 6.3.5) */
static void
renew(Storm *storm, guint session, End end)
{
    Peer *old = storm->peers[session];

    if (end == END_SOCKET) {
        for (guint i = 0; i < storm->n_links; i++)
            peer_kill(old, i);
    } else if (end == END_LOGOUT) {
        PeerCommand *logout = peer_logout(old, 0, PDU_LOGOUT_CLOSE_SESSION, 0);

        g_assert_true(peer_wait(logout));
        g_assert_cmpuint(logout->status, ==, PDU_LOGOUT_RESPONSE_CLOSED);
    } else if (end == END_SERVICE) {
        iscsi_service_close_session(storm->rig->service, old->tsih, "storm");
        while (is_alive(old))
            (void)peer_turn(old);
    }

    storm->peers[session] = log_in(storm, session);
    storm->n_ends++;
    for (guint i = 0; i < storm->jobs->len; i++) {
        Job *job = storm->jobs->pdata[i];

        if (job->session == session)
            peer_give_up(job->command);
        /* What it was sent to end is not in the new session */
        job->exp_cmd_sn[session] = storm->peers[session]->cmd_sn;
    }
    end_jobs(storm);
    g_assert_cmpuint(storm->n_writes[session], ==, 0);
    peer_free(old);
}

/* Acting */

static Job *
pick_write(const Storm *storm)
{
    guint n = storm->jobs->len, first = n != 0 ? pick(n) : 0;

    for (guint i = 0; i < n; i++) {
        Job *job = storm->jobs->pdata[(first + i) % n];

        if (job->kind == JOB_WRITE && !job->command->is_done)
            return job;
    }
    return NULL;
}

static void
act_on_data(Storm *storm, guint session)
{
    Region *region = &storm->regions[pick(N_REGIONS)];

    if (!peer_has_room(storm->peers[session]))
        return;
    if (pick(3) != 0 && is_idle(region) && region->n_checks == 0 &&
        storm->n_writes[session] < WRITES_MAX)
        start_write(storm, session, region);
    else if (is_idle(region) || (region->is_frozen && region->is_read))
        start_read(storm, JOB_CHECK, session, region);
}

/* Of what is sent immediately a target has to take little; more would be rejected (RFC 7143 4.2.2.1) */
static gboolean
may_manage(const Storm *storm, guint session)
{
    guint n = 0;

    for (guint i = 0; i < storm->jobs->len; i++) {
        const Job *job = storm->jobs->pdata[i];

        n += job->session == session && job->command->kind == PEER_MANAGEMENT;
    }
    return n < MANAGES_MAX;
}

static void
act(Storm *storm)
{
    static const PduTmf functions[] = { PDU_TMF_LOGICAL_UNIT_RESET, PDU_TMF_CLEAR_TASK_SET,
                                        PDU_TMF_ABORT_TASK_SET };
    guint session = pick(N_SESSIONS), what = pick(1000);
    const Job *write;

    if (what < 900) {
        act_on_data(storm, session);
    } else if (what < 970) {
        write = pick_write(storm);
        if (write != NULL && may_manage(storm, write->session))
            start_abort(storm, write);
    } else if (what < 990 && may_manage(storm, session)) {
        start_reset(storm, session, functions[pick(G_N_ELEMENTS(functions))]);
    } else if (what >= 990 && what < 994) {
        renew(storm, session, (End)pick(N_ENDS));
    }
}

/* Regions in which something was ended are read, and when that is over too they are free again */
static void
look_after(Storm *storm)
{
    for (guint i = 0; i < N_REGIONS; i++) {
        Region *region = &storm->regions[i];
        guint session = pick(N_SESSIONS);

        if (!region->is_frozen || region->has_read_job)
            continue;
        if (region->is_read) {
            region->is_frozen = region->write != NULL;
        } else if (peer_has_room(storm->peers[session])) {
            start_read(storm, JOB_LOOK, session, region);
        }
    }
}

/* The service closes no connection that it was not told to close */
G_GNUC_NORETURN static void
complain_of_loss(const Storm *storm)
{
    gint64 end = g_get_monotonic_time() + G_USEC_PER_SEC;
    const RigEvent *event = NULL;

    while (event == NULL && g_get_monotonic_time() < end) {
        (void)mailbox_drain(&storm->rig->control);
        event = rig_last_event(storm->rig, ISCSI_EVENT_CONNECTION_LOST);
    }
    g_test_message("a connection was closed: %s", event != NULL ? event->reason : "why?");
    g_assert_not_reached();
}

/* Nothing happens any more: what is waited for */
G_GNUC_NORETURN static void
complain(const Storm *storm)
{
    for (guint i = 0; i < storm->jobs->len; i++) {
        const Job *job = storm->jobs->pdata[i];

        g_test_message(
            "session %u waits for the end of %s, CmdSN %x, region %d; its ExpCmdSN is %x",
            job->session, pdu_name((guint8)pdu_opcode(job->command->bhs)),
            pdu_cmd_sn(job->command->bhs), job->region != NULL ? (int)job->region->index : -1,
            storm->peers[job->session]->exp_cmd_sn);
    }
    g_assert_not_reached();
}

static void
turn(Storm *storm)
{
    struct pollfd fds[N_SESSIONS * LINKS_MAX];
    guint n = 0;
    gboolean has_any = FALSE;

    (void)mailbox_drain(&storm->rig->control);
    for (guint i = 0; i < N_SESSIONS; i++) {
        has_any |= peer_turn(storm->peers[i]);
        if (!is_alive(storm->peers[i]))
            complain_of_loss(storm);
        for (guint j = 0; j < storm->n_links; j++)
            fds[n++] =
                (struct pollfd){ .fd = storm->peers[i]->links[j].initiator->fd, .events = POLLIN };
    }
    end_jobs(storm);
    look_after(storm);
    if (!has_any)
        (void)poll(fds, n, 1);
    if (g_get_monotonic_time() - storm->moved_at > QUIET_MAX * G_USEC_PER_SEC)
        complain(storm);
}

static gboolean
is_settled(const Storm *storm)
{
    for (guint i = 0; i < N_REGIONS; i++) {
        if (!is_idle(&storm->regions[i]))
            return FALSE;
    }
    return storm->jobs->len == 0;
}

static void
settle(Storm *storm)
{
    while (!is_settled(storm))
        turn(storm);
}

/* Some of what the store does takes a while, so that there is something to abort */
static FaultSet *
make_faults(void)
{
    const FaultRule rules[] = {
        { .kinds = FAULT_KIND(IO_WRITE),
          .delay = 30 * USEC_PER_MSEC,
          .chance = FAULT_CERTAIN / 16,
          .seed = 1 },
        { .kinds = FAULT_KIND(IO_WRITE),
          .delay = 4 * USEC_PER_MSEC,
          .chance = FAULT_CERTAIN / 3,
          .seed = 2 },
        { .kinds = FAULT_KIND(IO_READ),
          .delay = 2 * USEC_PER_MSEC,
          .chance = FAULT_CERTAIN / 4,
          .seed = 3 },
    };

    return fault_set_new(rules, G_N_ELEMENTS(rules));
}

static gint64
seconds_wanted(void)
{
    const char *text = g_getenv("LUNPORT_STORM_SECONDS");

    if (text != NULL)
        return (gint64)g_ascii_strtoull(text, NULL, 10);
    return g_test_slow() ? 600 : 3;
}

static void
open_storm(Storm *storm, FaultSet *faults)
{
    storm->rig = rig_new(
        &(RigConfig){ .n_workers = 2, .is_threaded = TRUE, .size = 4 << 20, .faults = faults });
    storm->jobs = g_ptr_array_new_with_free_func(job_free);
    storm->moved_at = g_get_monotonic_time();
    for (guint i = 0; i < N_REGIONS; i++) {
        storm->regions[i].index = i;
        storm->regions[i].content = g_malloc0(REGION_SIZE);
        storm->regions[i].wanted = g_malloc0(REGION_SIZE);
    }
    for (guint i = 0; i < N_SESSIONS; i++)
        storm->peers[i] = log_in(storm, i);
}

static void
close_storm(Storm *storm)
{
    for (guint i = 0; i < N_SESSIONS; i++)
        peer_free(storm->peers[i]);
    for (guint i = 0; i < N_REGIONS; i++) {
        g_free(storm->regions[i].content);
        g_free(storm->regions[i].wanted);
    }
    g_ptr_array_free(storm->jobs, TRUE);
    rig_free(storm->rig);
}

static void
test_aborts(gconstpointer n_links)
{
    g_autoptr(FaultSet) faults = make_faults();
    gint64 end = g_get_monotonic_time() + seconds_wanted() * G_USEC_PER_SEC;
    Storm storm = { .n_links = GPOINTER_TO_UINT(n_links) };

    open_storm(&storm, faults);
    /* So long, and until something has come of it: the machine may be slow */
    while (g_get_monotonic_time() < end || storm.n_looks == 0 || storm.n_checks == 0) {
        for (guint i = pick(8); i > 0; i--)
            act(&storm);
        turn(&storm);
    }

    settle(&storm);
    for (guint i = 0; i < N_REGIONS; i++) {
        start_read(&storm, JOB_CHECK, i % N_SESSIONS, &storm.regions[i]);
        settle(&storm);
    }
    g_test_message(
        "writes done %u, ended with an answer %u; regions read %u, of them partly written "
        "%u; checks %u; aborts %u, resets %u, sessions ended %u",
        storm.n_good, storm.n_aborted_answers, storm.n_looks, storm.n_partial, storm.n_checks,
        storm.n_aborts, storm.n_resets, storm.n_ends);
    close_storm(&storm);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    g_test_add_data_func("/iscsi/abort-storm/one-connection", GUINT_TO_POINTER(1), test_aborts);
    g_test_add_data_func("/iscsi/abort-storm/connections", GUINT_TO_POINTER(LINKS_MAX),
                         test_aborts);
    return g_test_run();
}
