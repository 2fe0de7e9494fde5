/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * Secrets for lunctl
 *
 * A command line can be read by everybody on the machine and stays in the
 * history of the shell, so a secret comes from the terminal or from a
 * descriptor that the caller has opened: lunctl … --secret-fd=3 3< FILE.
 *
 * While the echo is off a signal must not end the process: a handler that does
 * nothing makes read(2) end instead, and the terminal is put back.
 */

#include "ctl/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "util/fd.h"

#define SECRET_SIZE 1024

typedef struct {
    char text[SECRET_SIZE];
} Secret;

static void
secret_clear(Secret *secret)
{
    explicit_bzero(secret, sizeof(*secret));
}

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Secret, secret_clear)

static gboolean
fail(GError **ret_error, const char *why)
{
    g_set_error_literal(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, why);
    return FALSE;
}

/* One line, or up to the end; FALSE: it was interrupted, cannot be read, or is too long */
static gboolean
read_line(int fd, Secret *secret)
{
    gsize size = 0;

    while (size < sizeof(secret->text) - 1) {
        gssize n = read(fd, secret->text + size, 1);

        if (n < 0)
            return FALSE;
        if (n == 0 || secret->text[size] == '\n') {
            secret->text[size] = '\0';
            return TRUE;
        }
        size++;
    }
    return FALSE;
}

static void
on_signal(int number)
{
    /* Only to end read() */
    (void)number;
}

static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };

static void
catch_signals(struct sigaction before[G_N_ELEMENTS(signals)])
{
    const struct sigaction action = { .sa_handler = on_signal };

    for (gsize i = 0; i < G_N_ELEMENTS(signals); i++)
        (void)sigaction(signals[i], &action, &before[i]);
}

static void
release_signals(const struct sigaction before[G_N_ELEMENTS(signals)])
{
    for (gsize i = 0; i < G_N_ELEMENTS(signals); i++)
        (void)sigaction(signals[i], &before[i], NULL);
}

static gboolean
ask_once(int tty, const char *prompt, Secret *secret)
{
    struct sigaction before[G_N_ELEMENTS(signals)];
    struct termios shown;
    struct termios hidden;
    gboolean ok;

    if (tcgetattr(tty, &shown) != 0)
        return FALSE;

    hidden = shown;
    hidden.c_lflag &= ~(tcflag_t)(ECHO | ECHOE | ECHOK | ECHONL);
    catch_signals(before);
    ok = tcsetattr(tty, TCSAFLUSH, &hidden) == 0 && dprintf(tty, "%s: ", prompt) > 0 &&
         read_line(tty, secret);
    (void)tcsetattr(tty, TCSAFLUSH, &shown);
    (void)dprintf(tty, "\n");
    release_signals(before);
    return ok;
}

static gboolean
ask(const char *prompt, Secret *secret, GError **ret_error)
{
    autofd int tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    g_auto(Secret) again = { 0 };

    if (tty < 0)
        return fail(ret_error, "There is no terminal to ask for the secret: give it with "
                               "--secret-fd=, --mutual-secret-fd=");
    if (!ask_once(tty, prompt, secret) || !ask_once(tty, "The same again", &again))
        return fail(ret_error, "No secret was given");
    return strcmp(secret->text, again.text) == 0 ||
           fail(ret_error, "The two secrets are not the same");
}

/* From the descriptor that @fd_key names, else from the terminal */
static gboolean
get_secret(Ctl *ctl, const char *fd_key, const char *prompt, Secret *secret, GError **ret_error)
{
    guint32 fd;

    if (!g_variant_lookup(ctl->options, fd_key, "u", &fd))
        return ask(prompt, secret, ret_error);
    if (fd > G_MAXINT || !read_line((int)fd, secret)) {
        g_set_error(ret_error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "No secret can be read from descriptor %u: %s", fd,
                    errno != 0 ? g_strerror(errno) : "it is too long");
        return FALSE;
    }
    return g_utf8_validate(secret->text, -1, NULL) || fail(ret_error, "The secret is not UTF-8");
}

static gboolean
add_secret(Ctl *ctl, GVariantDict *dict, const char *key, const char *fd_key, const char *prompt,
           GError **ret_error)
{
    g_auto(Secret) secret = { 0 };

    if (!get_secret(ctl, fd_key, prompt, &secret, ret_error))
        return FALSE;
    if (secret.text[0] == '\0')
        return fail(ret_error, "The secret is empty");

    g_variant_dict_insert(dict, key, "s", secret.text);
    return TRUE;
}

gboolean
secret_has_mutual(const Ctl *ctl)
{
    const char *user;
    guint32 fd;

    return g_variant_lookup(ctl->options, "mutual-user", "&s", &user) ||
           g_variant_lookup(ctl->options, "mutual-secret-fd", "u", &fd);
}

gboolean
secret_add(Ctl *ctl, GVariantDict *dict, const char *user_key, gboolean wants_secret,
           GError **ret_error)
{
    const char *user = NULL;
    const char *mutual_user = NULL;
    gboolean has_user = g_variant_lookup(ctl->options, user_key, "&s", &user);
    gboolean has_mutual = g_variant_lookup(ctl->options, "mutual-user", "&s", &mutual_user);
    guint32 fd;

    if (has_user)
        g_variant_dict_insert(dict, user_key, "s", user);
    if (has_mutual)
        g_variant_dict_insert(dict, "mutual-user", "s", mutual_user);
    if ((wants_secret || has_user || g_variant_lookup(ctl->options, "secret-fd", "u", &fd)) &&
        !add_secret(ctl, dict, "secret", "secret-fd", "CHAP secret of the initiator", ret_error))
        return FALSE;
    if (secret_has_mutual(ctl))
        return add_secret(ctl, dict, "mutual-secret", "mutual-secret-fd",
                          "CHAP secret of the target", ret_error);
    return TRUE;
}
