/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * ROD tokens on three worker threads: one makes them, one writes, one uses them
 *
 * A write fills the whole region of the source with one value, by one request.
 * The token represents the region in pieces, which are read one after the other
 * when it is used. So what a use has written, if it ended with GOOD, is of one
 * value, whenever the write came; and without any write every use is good.
 */

#include <poll.h>
#include <string.h>

#include "fixture.h"
#include "scsi/rod.h"
#include "util/bytes.h"

#define N_PIECES 8
#define PIECE    64 /* blocks */
#define REGION   ((gsize)N_PIECES * PIECE * 512)
#define ROUNDS   200U

typedef struct Actor Actor;
typedef struct Scene Scene;

/* An initiator with one command at a time; its fields belong to its worker's thread */
struct Actor {
    Scene *scene;
    Nexus *nexus;
    ScsiCommand command;
    guint8 *out;
    guint8 *in;
    gboolean is_good;
    void (*then)(Actor *actor);
    Deferred next;
};

struct Scene {
    Rig *rig;
    Actor maker, writer, user;
    guint8 token[ROD_TOKEN_LENGTH]; /* travels with @use and @used */
    Message start, write, written, use, used, finished;
    Mailbox control;
    guint n_finished;

    /* of the maker's thread */
    guint round;
    gboolean is_write_out;
    gboolean is_use_out;
    guint8 value; /* of the writer's */
    guint n_good; /* of the user's */
};

static void
on_data_out(ScsiCommand *command)
{
    const Actor *actor = list_entry(command, Actor, command);

    memcpy(command->data, actor->out + command->data_offset, command->data_length);
    scsi_command_data_out_ready(command);
}

static void
keep_data(ScsiCommand *command)
{
    const Actor *actor = list_entry(command, Actor, command);

    if (command->data_length > 0 && command->expected_in > 0)
        memcpy(actor->in + command->data_offset, command->data, command->data_length);
}

static void
on_data_in(ScsiCommand *command)
{
    keep_data(command);
    scsi_command_data_in_sent(command);
}

static void
on_done(ScsiCommand *command)
{
    Actor *actor = list_entry(command, Actor, command);

    actor->is_good = command->status == SCSI_GOOD;
    if (actor->is_good)
        keep_data(command);
    scsi_command_end(command);
    deferred_run(&actor->next, &actor->nexus->worker->loop);
}

static const ScsiTransport transport = {
    .data_out = on_data_out,
    .data_in = on_data_in,
    .done = on_done,
};

static void
on_next(Deferred *deferred)
{
    Actor *actor = list_entry(deferred, Actor, next);

    actor->then(actor);
}

static void
run(Actor *actor, guint lun, const guint8 cdb[16], guint32 n_in, guint32 n_out,
    void (*then)(Actor *actor))
{
    ScsiCommand *command = &actor->command;

    memset(command, 0, sizeof(*command));
    command->transport = &transport;
    command->nexus = actor->nexus;
    lun_encode((guint16)lun, command->lun);
    memcpy(command->cdb, cdb, 16);
    command->expected_in = n_in;
    command->expected_out = n_out;
    actor->then = then;
    scsi_command_begin(command);
    scsi_command_run(command);
}

/*
 * The writer
 */

static void on_written(Message *message);

static void
write_done(Actor *writer)
{
    g_assert_true(writer->is_good);
    worker_send(writer->scene->rig->workers[0], &writer->scene->written, on_written);
}

static void
on_write(Message *message)
{
    Scene *scene = list_entry(message, Scene, write);
    guint8 cdb[16] = { 0x8a };

    put_be32(cdb + 10, N_PIECES * PIECE);
    memset(scene->writer.out, ++scene->value, REGION);
    run(&scene->writer, 0, cdb, 0, REGION, write_done);
}

static void
start_write(Scene *scene)
{
    scene->is_write_out = TRUE;
    worker_send(scene->rig->workers[1], &scene->write, on_write);
}

/*
 * The user
 */

static void on_used(Message *message);

static void
region_read(Actor *user)
{
    Scene *scene = user->scene;

    g_assert_true(user->is_good);
    g_assert_true(memcmp(user->in, user->in + 1, REGION - 1) == 0);
    scene->n_good++;
    worker_send(scene->rig->workers[0], &scene->used, on_used);
}

static void
use_done(Actor *user)
{
    Scene *scene = user->scene;
    guint8 cdb[16] = { 0x88 };

    if (!user->is_good) {
        worker_send(scene->rig->workers[0], &scene->used, on_used);
        return;
    }

    put_be32(cdb + 10, N_PIECES * PIECE);
    run(user, 1, cdb, REGION, 0, region_read);
}

static void
on_use(Message *message)
{
    Scene *scene = list_entry(message, Scene, use);
    guint8 *list = scene->user.out;
    guint8 cdb[16] = { 0x83, ROD_WRITE };
    const guint length = ROD_WRITE_HEADER + ROD_RANGE_LENGTH;

    put_be32(cdb + 10, length);
    memset(list, 0, length);
    put_be16(list, (guint16)(length - 2));
    memcpy(list + 16, scene->token, ROD_TOKEN_LENGTH);
    put_be16(list + ROD_WRITE_HEADER - 2, ROD_RANGE_LENGTH);
    put_be32(list + ROD_WRITE_HEADER + 8, N_PIECES * PIECE);
    run(&scene->user, 1, cdb, 0, length, use_done);
}

/*
 * The maker, who also says when the others have their turn
 */

static void start_round(Scene *scene);

static void
on_finished(Message *message)
{
    list_entry(message, Scene, finished)->n_finished++;
}

static void
check_round(Scene *scene)
{
    if (scene->is_write_out || scene->is_use_out)
        return;

    if (++scene->round < ROUNDS)
        start_round(scene);
    else
        mailbox_send(&scene->control, &scene->finished, on_finished);
}

static void
on_written(Message *message)
{
    Scene *scene = list_entry(message, Scene, written);

    scene->is_write_out = FALSE;
    check_round(scene);
}

static void
on_used(Message *message)
{
    Scene *scene = list_entry(message, Scene, used);

    /* Of four rounds, one is without any write */
    if (scene->round % 4 == 0)
        g_assert_true(scene->user.is_good);
    scene->is_use_out = FALSE;
    check_round(scene);
}

static void
token_received(Actor *maker)
{
    Scene *scene = maker->scene;

    g_assert_true(maker->is_good);
    memcpy(scene->token, maker->in + 32 + 6, ROD_TOKEN_LENGTH);
    worker_send(scene->rig->workers[2], &scene->use, on_use);
    if (scene->round % 4 == 3)
        start_write(scene);
}

static void
populated(Actor *maker)
{
    Scene *scene = maker->scene;
    guint8 cdb[16] = { 0x84, 0x07 };

    g_assert_true(maker->is_good);
    cdb[5] = 1;
    put_be32(cdb + 10, 1024);
    if (scene->round % 4 == 2)
        start_write(scene);
    run(maker, 0, cdb, 1024, 0, token_received);
}

static void
start_round(Scene *scene)
{
    guint8 *list = scene->maker.out;
    guint8 cdb[16] = { 0x83, ROD_POPULATE };
    const guint length = ROD_POPULATE_HEADER + N_PIECES * ROD_RANGE_LENGTH;

    scene->is_use_out = TRUE;
    cdb[9] = 1; /* list identifier */
    put_be32(cdb + 10, length);
    memset(list, 0, length);
    put_be16(list, (guint16)(length - 2));
    put_be16(list + ROD_POPULATE_HEADER - 2, N_PIECES * ROD_RANGE_LENGTH);
    for (guint i = 0; i < N_PIECES; i++) {
        put_be64(list + ROD_POPULATE_HEADER + i * ROD_RANGE_LENGTH, (guint64)i * PIECE);
        put_be32(list + ROD_POPULATE_HEADER + i * ROD_RANGE_LENGTH + 8, PIECE);
    }
    if (scene->round % 4 == 1)
        start_write(scene);
    run(&scene->maker, 0, cdb, 0, length, populated);
}

static void
on_start(Message *message)
{
    start_round(list_entry(message, Scene, start));
}

static void
actor_init(Actor *actor, Scene *scene, guint worker, LunMap *map)
{
    actor->scene = scene;
    actor->nexus = rig_new_nexus(scene->rig, worker, 10 + worker);
    nexus_set_map(actor->nexus, map);
    for (guint i = 0; i < 2; i++)
        actor->nexus->luns[i]->attentions.n = 0;
    actor->out = g_malloc0(REGION);
    actor->in = g_malloc0(REGION);
    deferred_init(&actor->next, on_next);
}

static void
actor_clear(Actor *actor)
{
    deferred_cancel(&actor->next);
    nexus_free(actor->nexus);
    g_free(actor->out);
    g_free(actor->in);
}

static void
test_writes_and_uses(void)
{
    const LuConfig config = { .name = "other", .uuid = { 1 } };
    Scene scene = { .rig = rig_new(&(RigConfig){ .n_workers = 3 }) };
    Rig *rig = scene.rig;
    Backstore *store = rig_open_slow(rig, &(SlowConfig){ 0 });
    Lu *lu = lu_new(&config, store, rig->workers, rig->n_workers, 2);
    LunMap *map = lun_map_new((LunEntry[]){ { 0, rig->lu, FALSE }, { 1, lu, FALSE } }, 2);
    struct pollfd fd;

    g_assert_true(mailbox_init(&scene.control, NULL));
    fd = (struct pollfd){ .fd = scene.control.event_fd, .events = POLLIN };
    actor_init(&scene.maker, &scene, 0, map);
    actor_init(&scene.writer, &scene, 1, map);
    actor_init(&scene.user, &scene, 2, map);
    snapshot_unref(&map->snapshot);

    for (guint i = 0; i < rig->n_workers; i++)
        worker_start(rig->workers[i]);
    worker_send(rig->workers[0], &scene.start, on_start);
    while (scene.n_finished == 0) {
        g_assert_cmpint(poll(&fd, 1, 600000), >, 0);
        (void)mailbox_drain(&scene.control);
    }
    for (guint i = 0; i < rig->n_workers; i++)
        worker_stop(rig->workers[i]);

    g_test_message("%u of %u uses were good", scene.n_good, ROUNDS);
    g_assert_cmpuint(scene.n_good, >=, ROUNDS / 4);
    actor_clear(&scene.maker);
    actor_clear(&scene.writer);
    actor_clear(&scene.user);
    rig_turn(rig);
    lu_free(lu);
    backstore_close(store);
    mailbox_deinit(&scene.control);
    rig_free(rig);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/scsi/rod-threads/writes-and-uses", test_writes_and_uses);
    return g_test_run();
}
