/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include <glib.h>

#include "backstore/class.h"
#include "scsi/lu-shard.h"
#include "scsi/operation.h"
#include "scsi/tmf.h"

/*
 * A logical unit on workers that the test turns by hand, initiators that are a
 * struct of the test, and a store that answers when it is told to
 */

/*
 * The slow store: memory, and a list of requests that wait for slow_release()
 */

typedef struct {
    guint64 size;         /* 0: 1 MiB */
    guint32 block_size;   /* 0: 512 */
    guint32 offset_align; /* 0: the block */
    gboolean read_only;
    gboolean thin;
    gboolean copies; /* from other slow stores, aligned to 4096 bytes */
} SlowConfig;

typedef struct SlowStore SlowStore;

void slow_hold(Backstore *store, gboolean hold);
guint slow_n_held(Backstore *store, guint worker_index);
void slow_release(Backstore *store, guint worker_index); /* on that worker */
void slow_fail_next(Backstore *store, int error);        /* the next request ends in -@error */
guint slow_n_done(Backstore *store, IoKind kind);
guint8 *slow_memory(Backstore *store);

/*
 * The rig
 */

typedef struct {
    guint n_workers;             /* 0: 1 */
    const char *type;            /* NULL: the slow store */
    const BackstoreClass *class; /* of the test, with the configuration of the slow store */
    SlowConfig slow;
    guint64 size;    /* of other types; 0: 1 MiB */
    gsize pool_size; /* 0: 64 MiB */
    gsize pool_reserve;
    LuConfig lu;
} RigConfig;

typedef struct {
    Clock clock;
    Offload *offload;
    Worker *workers[4];
    guint n_workers;
    Backstore *store;
    Lu *lu;
    LunMap *map;
    Nexus *nexus; /* of the first initiator, on worker 0, its POWER ON reported */
    ScsiEvent last_event;
    guint n_events;
} Rig;

Rig *rig_new(const RigConfig *config);
void rig_free(Rig *rig);
Backstore *rig_open_slow(Rig *rig, const SlowConfig *config); /* another one */
Nexus *rig_new_nexus(Rig *rig, guint worker_index, guint isid);
void rig_turn(Rig *rig); /* all workers, until nothing moves */

extern const guint8 rig_uuid[16];

/*
 * A command of the fake transport
 */

typedef struct {
    ScsiCommand command;
    GByteArray *in; /* Data-In so far */
    const guint8 *out;
    gsize n_out;
    gboolean hold_data_out; /* the test calls test_send_data() */
    gboolean hold_data_in;  /* the test calls scsi_command_data_in_sent() */
    guint n_segments;       /* data_in and data_out calls */
    gboolean is_done;
    gboolean keep; /* the test calls scsi_command_end() */
    guint order;   /* the n-th command that was done */
    guint *counter;
} TestCommand;

void test_command_init(TestCommand *test, Nexus *nexus, guint lun, const guint8 *cdb, gsize n);
void test_command_clear(TestCommand *test);
void test_start(TestCommand *test);     /* begin and run */
void test_send_data(TestCommand *test); /* the segment that is waited for */
void test_wait(Rig *rig,
               TestCommand *test); /* turn until done; fails the test when nothing moves */

/* begin, run, wait */
void test_run(Rig *rig, TestCommand *test);

#define CDB(...) (const guint8[]){ __VA_ARGS__ }, sizeof((const guint8[]){ __VA_ARGS__ })

/* One command from start to end: returns its status and leaves sense and data in @test */
ScsiStatus test_execute(Rig *rig, Nexus *nexus, TestCommand *test, const guint8 *cdb, gsize n,
                        guint32 expected_in, const guint8 *out, gsize n_out);

/* A task management function */
typedef struct {
    ScsiTmf tmf;
    gboolean is_done;
} TestManagement;

/* @command: of ABORT TASK and QUERY TASK, else NULL */
void test_manage(TestManagement *test, TmfFunction function, Nexus *nexus, guint lun,
                 ScsiCommand *command);

guint32 test_sense(const TestCommand *test); /* key << 16 | ASC << 8 | ASCQ */
gboolean test_sense_is(const TestCommand *test, SenseCode code);
void test_assert_good(const TestCommand *test);
void test_assert_sense(const TestCommand *test, SenseCode code);
void test_assert_field(const TestCommand *test, gboolean in_cdb, guint byte, guint bit);
