/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */
#pragma once

#include "engine/snapshot.h"
#include "engine/worker.h"

/*
 * The proof of the thread rules
 *
 * A miniature of the data plane with nothing in it but the messages between
 * threads: workers with sessions, logical units with a home, a registry of
 * nexuses. docs/ARCHITECTURE.md lists the messages and what each reply may
 * wait for; this is the same protocol, run with random delays. The medium
 * (medium.c) checks the promises while the run goes on.
 *
 * session.c   commands of a session on its worker
 * local.c     a worker's side of a logical unit
 * home.c      the home's side of it
 * registry.c  who is logged in where; moves and reinstatements
 * proof.c     rounds, orders, the end
 */

#define N_WORKERS  4
#define N_LUS      12
#define N_NEXUSES  64
#define N_BLOCKS   24
#define N_SLOTS    3 /* commands of a session */
#define N_HOME_OPS 4
#define NO_HOLDER  (-1)

#define ATOMIC_BUFFER ((gsize)64 * 1024)

/* By class: a reply waits only for requests of rows above it */
typedef enum {
    MSG_RANGE_LOCK,
    MSG_RANGE_UNLOCK,
    MSG_RUN_ATOMIC,
    MSG_LU_CHANGE,
    MSG_ABORT_TASKS,
    MSG_RAISE_UA,
    MSG_MANAGE_LU,
    MSG_ATTACH_LU,
    MSG_DETACH_LU,
    MSG_MOVE_SESSION,
    MSG_END_SESSION,
    MSG_AWAIT_OLD,
    MSG_CLAIM_NEXUS,
    MSG_N,
} MessageKind;

typedef enum {
    OUTCOME_GOOD,
    OUTCOME_CONFLICT,
    OUTCOME_UNIT_ATTENTION,
    OUTCOME_ABORTED,
    OUTCOME_N,
} Outcome;

typedef enum {
    COMMAND_WRITE,
    COMMAND_READ,
    COMMAND_ATOMIC, /* read, modify, write under a range lock */
    COMMAND_PREEMPT,
    COMMAND_CLEAR, /* the reservation */
    COMMAND_RESET, /* task management: LOGICAL UNIT RESET */
} CommandKind;

typedef enum {
    COMMAND_FREE,
    COMMAND_BACKLOG, /* its session does not run */
    COMMAND_PARKED,  /* behind a range lock or a reset */
    COMMAND_POOL,    /* waits for a buffer */
    COMMAND_IO,
    COMMAND_AT_HOME,  /* RUN_ATOMIC */
    COMMAND_MANAGING, /* MANAGE_LU */
} CommandState;

typedef struct Sim Sim;
typedef struct SimWorker SimWorker;
typedef struct LocalLu LocalLu;
typedef struct HomeLu HomeLu;
typedef struct HomeOp HomeOp;
typedef struct Session Session;
typedef struct Command Command;

/* What the gates of a worker look at: immutable */
typedef struct {
    Snapshot snapshot;
    gint holder; /* the nexus with the reservation, or NO_HOLDER */
} LuView;

struct Command {
    Session *session;
    CommandKind kind;
    CommandState state;
    gboolean aborted;
    guint lu;
    guint first;
    guint n;
    guint64 birth;
    guint nexus; /* copies, for those who may not look into the session */
    guint incarnation;
    gsize size;
    void *buffer;
    PoolWaiter waiter;
    ListLink link; /* on LocalLu.parked or LocalLu.in_flight */
    Timer timer;
    OffloadJob job;

    /* RUN_ATOMIC, MANAGE_LU */
    Message message;
    ListLink home_link;
    SimWorker *from;
    guint abort_generation; /* what the sender knew */
    Outcome outcome;
};

struct Session {
    SimWorker *worker;
    ListLink link; /* on SimWorker.sessions or .arriving */
    guint nexus;
    guint incarnation;
    guint lu;         /* each nexus uses one */
    gboolean blocked; /* moving, or waits for the session before it */
    gboolean ending;
    gboolean is_new;
    Command commands[N_SLOTS];
    guint n_outstanding;
    guint ua_generation;
    guint abort_generation;
    gboolean ua_pending;
    Timer think;
    Deferred check;
    struct Order *order;       /* the move or login that is going on */
    struct RegistryEntry *end; /* who is told when it has ended */
};

/* RANGE_LOCK: the link is the locked worker's until RANGE_UNLOCKED, the rest the home's */
typedef struct {
    Message message;
    HomeOp *op;
    SimWorker *worker;
    ListLink link;
    guint first;
    guint n;
    gboolean answered;
} RangeLock;

/* LU_CHANGE, ABORT_TASKS, RAISE_UA: one at a time for an LU */
typedef struct {
    Message message;
    HomeLu *home;
    SimWorker *worker;
    LuView *view;
    guint generation;
} Notice;

typedef enum {
    LU_DETACHED,
    LU_ATTACHING,
    LU_ATTACHED,
    LU_DETACHING,
} AttachState;

struct LocalLu {
    SimWorker *worker;
    guint index;
    AttachState state;
    guint n_users; /* sessions here or on their way in */
    LuView *view;
    guint ua_generation;
    guint abort_generation;
    gboolean resetting;
    List parked;
    List in_flight; /* COMMAND_IO, COMMAND_AT_HOME */
    List locks;
    Notice *change; /* not answered yet */
    Notice *abort;  /* not answered yet */
    Deferred check;

    /* ATTACH_LU, DETACH_LU */
    Message message;
    ListLink home_link;
    guint64 ops_before;
    LuView *given_view;
    guint given_ua_generation;
    guint given_abort_generation;
    gboolean given_resetting;
};

typedef enum {
    OP_FREE,
    OP_LOCKING,
    OP_EXECUTING,
    OP_UNLOCKING,
} OpState;

struct HomeOp {
    HomeLu *home;
    OpState state;
    Command *command;
    guint64 serial;
    guint first;
    guint n;
    RangeLock locks[N_WORKERS];
    guint n_waiting;
    void *buffer;
    guint64 values[N_BLOCKS];
    Timer timer;
};

struct HomeLu {
    SimWorker *worker;
    guint index;
    LuView *view;
    gboolean member[N_WORKERS];
    guint ua_generation;
    guint abort_generation;
    gboolean resetting;
    List atomics; /* queued */
    HomeOp ops[N_HOME_OPS];
    guint64 op_serial;
    List manage; /* queued */
    Command *managing;
    guint n_waiting;
    guint64 reset_birth;
    Notice notices[N_WORKERS];
    List attaches;
    guint64 n_increments[N_BLOCKS];
};

/* An order of the control thread: move or log in */
typedef struct Order {
    Message message;
    Sim *sim;
    guint nexus;
    guint to;
    guint incarnation;
    Session *session;
    ListLink link;
    gboolean in_use;
} Order;

typedef struct RegistryEntry {
    SimWorker *registry;
    guint nexus;
    gint at; /* worker, -1: nowhere */
    guint incarnation;
    gboolean busy;
    gboolean old_ended;
    Order *awaiting;
    List claims;

    /* END_SESSION */
    Message message;
    guint old_incarnation;
} RegistryEntry;

struct SimWorker {
    Sim *sim;
    Worker *worker;
    guint index;
    GRand *rand;
    List sessions;
    List arriving; /* wait until their LU is attached */
    LocalLu local[N_LUS];
    OffloadQueue *queue;
    gboolean stopping;
    gboolean draining;  /* report when no command is left */
    gboolean finishing; /* report when nothing at all is left */
    Deferred check;
    Message order;                       /* of proof.c */
    guint last_ua_generation[N_NEXUSES]; /* of sessions that were here at the end */
    gboolean was_here[N_NEXUSES];
    guint64 n_requests[MSG_N];
    guint64 n_replies[MSG_N];
    guint64 n_born;
    guint64 n_ended[OUTCOME_N];
    guint64 n_done_of[N_NEXUSES];
    guint64 n_parked;
    guint64 n_pool_waits;
    guint64 n_moves;
};

/* Checks of the medium: see medium.c */
typedef struct {
    guint64 births;                 /* atomic */
    guint64 dead_before[N_LUS];     /* atomic */
    gint enforced[N_LUS];           /* atomic: the holder whose preemption was answered */
    guint32 owner[N_LUS][N_BLOCKS]; /* atomic */
    guint64 value[N_LUS][N_BLOCKS]; /* atomic */
    guint32 running[N_NEXUSES][2];  /* atomic: effects by parity of the incarnation */
} Medium;

struct Sim {
    SimWorker workers[N_WORKERS];
    HomeLu homes[N_LUS];
    RegistryEntry registry[N_NEXUSES];
    Medium medium;
    Offload *offload;
    Mailbox control;
    Order orders[16];
    guint n_orders;   /* out; control thread only */
    guint n_reported; /* control thread only */
};

/* session.c */
Session *session_new(SimWorker *worker, guint nexus, guint incarnation);
void session_free(Session *session);
void session_arrive(Session *session, SimWorker *worker);
void session_catch_up(Session *session); /* with what its LU went through while it was away */
void session_start(Session *session);    /* or go on */
void session_leave(Session *session);    /* its worker's lists, timers and LU */
Session *session_find(SimWorker *worker, guint nexus, guint incarnation);
void session_stop(Session *session); /* no new commands; those that wait end */
void command_resume(Command *command);
void command_finish(Command *command, Outcome outcome);
void command_abort(Command *command);

/* local.c */
void local_init(LocalLu *local, SimWorker *worker, guint index);
void local_deinit(LocalLu *local);
void local_attach(LocalLu *local);
void local_release(LocalLu *local);
gboolean local_is_locked(const LocalLu *local, guint first, guint n);
void local_park(LocalLu *local, Command *command);
void on_range_lock(Message *message);
void on_range_unlock(Message *message);
void on_lu_change(Message *message);
void on_abort_tasks(Message *message);
void on_raise_ua(Message *message);
void on_lu_attached(Message *message);
void on_lu_detached(Message *message);
void on_atomic_done(Message *message);
void on_lu_managed(Message *message);

/* home.c */
void home_init(HomeLu *home, SimWorker *worker, guint index);
void home_deinit(HomeLu *home);
gboolean home_is_quiet(const HomeLu *home);
void on_run_atomic(Message *message);
void on_manage_lu(Message *message);
void on_attach_lu(Message *message);
void on_detach_lu(Message *message);
void on_range_locked(Message *message);
void on_range_unlocked(Message *message);
void on_lu_changed(Message *message);
void on_tasks_aborted(Message *message);
void on_ua_raised(Message *message);

/* registry.c */
void on_order_move(Message *message);
void on_order_login(Message *message);
void session_is_idle(Session *session);
void session_is_attached(Session *session);

/* medium.c */
guint64 medium_birth(Medium *medium);
guint64 medium_births(Medium *medium);
void medium_begin(Medium *medium, const Command *command);
void medium_end(Medium *medium, const Command *command);
void medium_begin_exclusive(Medium *medium, HomeOp *op);
void medium_end_exclusive(Medium *medium, HomeOp *op);
void medium_check_effect(Medium *medium, const Command *command);
void medium_bury(Medium *medium, guint lu, guint64 before);
void medium_enforce(Medium *medium, guint lu, gint holder);

/* proof.c */
void sim_request(SimWorker *from, SimWorker *to, MessageKind kind, Message *message, MessageFn fn);
void sim_reply(SimWorker *from, SimWorker *to, MessageKind kind, Message *message, MessageFn fn);
void sim_order_done(Order *order);
SimWorker *sim_worker_current(void);
void sim_jitter(SimWorker *worker);

static inline gboolean
ranges_overlap(guint first_a, guint n_a, guint first_b, guint n_b)
{
    return first_a < first_b + n_b && first_b < first_a + n_a;
}

static inline HomeLu *
home_of(SimWorker *worker, guint lu)
{
    return &worker->sim->homes[lu];
}
