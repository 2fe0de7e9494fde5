/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Mailboxes: order, ringing only when the receiver may sleep, reuse of the
 * node for the reply, and a storm of senders whose order must hold.
 */

#include "engine/mailbox.h"

#include <poll.h>
#include <sys/eventfd.h>

#include "util/list.h"

typedef struct {
    Message message;
    guint sender;
    guint number;
    GString *trace;
    Mailbox *reply_to;
    Mailbox *sends_to;
} Letter;

static gboolean
is_rung(const Mailbox *mailbox)
{
    struct pollfd pollfd = { .fd = mailbox->event_fd, .events = POLLIN };

    return poll(&pollfd, 1, 0) == 1;
}

static void
on_letter(Message *message)
{
    Letter *letter = list_entry(message, Letter, message);

    g_string_append_printf(letter->trace, "%u", letter->number);
}

static void
test_order(void)
{
    g_autoptr(GString) trace = g_string_new(NULL);
    Letter letters[5];
    Mailbox mailbox;

    g_assert_true(mailbox_init(&mailbox, NULL));
    for (guint i = 0; i < G_N_ELEMENTS(letters); i++) {
        letters[i] = (Letter){ .number = i, .trace = trace };
        mailbox_send(&mailbox, &letters[i].message, on_letter);
    }
    g_assert_cmpuint(mailbox_drain(&mailbox), ==, 5);
    g_assert_cmpstr(trace->str, ==, "01234");
    g_assert_cmpuint(mailbox_drain(&mailbox), ==, 0);
    mailbox_deinit(&mailbox);
}

static void
test_rings_once_a_batch(void)
{
    g_autoptr(GString) trace = g_string_new(NULL);
    Letter letters[3];
    Mailbox mailbox;
    guint64 count;

    g_assert_true(mailbox_init(&mailbox, NULL));
    g_assert_false(is_rung(&mailbox));
    for (guint i = 0; i < G_N_ELEMENTS(letters); i++) {
        letters[i] = (Letter){ .number = i, .trace = trace };
        mailbox_send(&mailbox, &letters[i].message, on_letter);
    }
    g_assert_true(is_rung(&mailbox));
    g_assert_cmpint(eventfd_read(mailbox.event_fd, &count), ==, 0);
    g_assert_cmpuint(count, ==, 1);
    mailbox.n_owed -= (gint64)count;

    g_assert_cmpuint(mailbox_drain(&mailbox), ==, 3);
    g_assert_false(is_rung(&mailbox));
    mailbox_deinit(&mailbox);
}

static void
on_chain(Message *message)
{
    Letter *letter = list_entry(message, Letter, message);

    on_letter(message);
    if (letter->number < 9) {
        letter->number++;
        mailbox_send(letter->sends_to, message, on_chain);
    }
}

/* What the receiver sends to itself needs no bell, and each message comes once */
static void
test_send_while_draining(void)
{
    g_autoptr(GString) trace = g_string_new(NULL);
    Letter letter = { .trace = trace };
    Mailbox mailbox;

    g_assert_true(mailbox_init(&mailbox, NULL));
    letter.sends_to = &mailbox;
    mailbox_send(&mailbox, &letter.message, on_chain);
    while (is_rung(&mailbox))
        (void)mailbox_drain(&mailbox);
    g_assert_cmpstr(trace->str, ==, "0123456789");
    mailbox_deinit(&mailbox);
}

static void
on_reply(Message *message)
{
    g_string_append_c(list_entry(message, Letter, message)->trace, 'r');
}

static void
on_request(Message *message)
{
    Letter *letter = list_entry(message, Letter, message);

    g_string_append_c(letter->trace, 'q');
    mailbox_send(letter->reply_to, message, on_reply);
}

static void
test_reply_is_the_same_node(void)
{
    g_autoptr(GString) trace = g_string_new(NULL);
    Letter letter = { .trace = trace };
    Mailbox a;
    Mailbox b;

    g_assert_true(mailbox_init(&a, NULL));
    g_assert_true(mailbox_init(&b, NULL));
    letter.reply_to = &a;
    mailbox_send(&b, &letter.message, on_request);
    (void)mailbox_drain(&b);
    (void)mailbox_drain(&a);
    g_assert_cmpstr(trace->str, ==, "qr");
    mailbox_deinit(&a);
    mailbox_deinit(&b);
}

enum { N_SENDERS = 4, N_LETTERS = 20000 };

typedef struct {
    Mailbox *mailbox;
    guint index;
    Letter *letters;
} Sender;

typedef struct {
    Mailbox mailbox;
    guint next[N_SENDERS];
    guint n_received;
} Receiver;

static void
on_numbered(Message *message)
{
    Letter *letter = list_entry(message, Letter, message);
    Receiver *receiver = list_entry(letter->sends_to, Receiver, mailbox);

    g_assert_cmpuint(letter->number, ==, receiver->next[letter->sender]);
    receiver->next[letter->sender]++;
    receiver->n_received++;
}

static gpointer
sender_thread(gpointer data)
{
    Sender *sender = data;

    for (guint i = 0; i < N_LETTERS; i++) {
        sender->letters[i] =
            (Letter){ .sender = sender->index, .number = i, .sends_to = sender->mailbox };
        mailbox_send(sender->mailbox, &sender->letters[i].message, on_numbered);
    }
    return NULL;
}

static void
test_many_senders(void)
{
    Receiver receiver = { 0 };
    Sender senders[N_SENDERS];
    GThread *threads[N_SENDERS];
    struct pollfd pollfd = { .events = POLLIN };

    g_assert_true(mailbox_init(&receiver.mailbox, NULL));
    pollfd.fd = receiver.mailbox.event_fd;
    for (guint i = 0; i < N_SENDERS; i++) {
        senders[i] = (Sender){ &receiver.mailbox, i, g_new(Letter, N_LETTERS) };
        threads[i] = g_thread_new("sender", sender_thread, &senders[i]);
    }

    /* A lost bell would make this wait for ever */
    while (receiver.n_received < N_SENDERS * N_LETTERS) {
        (void)poll(&pollfd, 1, -1);
        (void)mailbox_drain(&receiver.mailbox);
    }

    /* Some senders may still have to ring: deinit waits for them */
    mailbox_deinit(&receiver.mailbox);
    for (guint i = 0; i < N_SENDERS; i++) {
        g_thread_join(threads[i]);
        g_free(senders[i].letters);
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/engine/mailbox/order", test_order);
    g_test_add_func("/engine/mailbox/rings-once-a-batch", test_rings_once_a_batch);
    g_test_add_func("/engine/mailbox/send-while-draining", test_send_while_draining);
    g_test_add_func("/engine/mailbox/reply-is-the-same-node", test_reply_is_the_same_node);
    g_test_add_func("/engine/mailbox/many-senders", test_many_senders);
    return g_test_run();
}
