/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* SPDX-FileCopyrightText: the lunport authors */

/*
 * The CHAP accounts of the service
 *
 * They are nowhere but here, as Credentials (locked pages, wiped at the end),
 * and in STATE/secrets, one file an owner, sealed under the key that systemd
 * hands over (seal.c). Key files, model and bus know that there is an account
 * and its user names, never a secret. Every buffer that has held one on the way
 * is wiped.
 *
 * As with specs there are two versions of each account: in effect, and stored.
 * An account that was set for this run only never gets into the file with
 * another.
 *
 * A file that cannot be opened is left as it is: who restores the key has his
 * secrets again. Until then nobody gets in by its accounts, and they cannot be
 * changed. A file that was written without a key is written again when there
 * is one. Where that fails the problem is told, and it is tried again with a
 * reload, the next change of the accounts and the next start.
 */

#include "control/secrets.h"

#include <openssl/crypto.h>
#include <string.h>

#include "control/seal.h"
#include "util/error.h"
#include "util/log.h"

#define KEY_NAME     "lunport.key"
#define KEY_FILE_MAX (64 * 1024)
#define N_TEXTS      5 /* of a record: id, user, secret, mutual user, mutual secret */

/* The accounts of an owner or of one of its rules; NULL: none */
typedef struct {
    char *id;
    Credentials *now;
    Credentials *stored;
} Entry;

typedef struct {
    GPtrArray *entries; /* of Entry */
    char *problem;      /* the file cannot be used; NULL: nothing wrong */
    gboolean is_plain;  /* the file is not sealed */
    char *seal_problem; /* there is a key, but the file could not be written with it */
} Owner;

/* A file that is written again */
typedef struct {
    Service *service;
    char *name;
} Sealing;

struct Secrets {
    GHashTable *owners; /* name to Owner */
    SealKey *key;       /* NULL: files are not sealed */
    char *key_problem;  /* there is a credential that cannot be used */
    char *load_problem; /* what files there are is not known */
    gboolean told_plain;
};

static void
entry_free(gpointer data)
{
    Entry *entry = data;

    g_free(entry->id);
    credentials_unref(entry->now);
    credentials_unref(entry->stored);
    g_free(entry);
}

static void
owner_free(gpointer data)
{
    Owner *owner = data;

    g_ptr_array_unref(owner->entries);
    g_free(owner->problem);
    g_free(owner->seal_problem);
    g_free(owner);
}

static Owner *
need_owner(Secrets *secrets, const char *name)
{
    Owner *owner = g_hash_table_lookup(secrets->owners, name);

    if (owner != NULL)
        return owner;

    owner = g_new0(Owner, 1);
    owner->entries = g_ptr_array_new_with_free_func(entry_free);
    (void)g_hash_table_insert(secrets->owners, g_strdup(name), owner);
    return owner;
}

static Entry *
find_entry(const Owner *owner, const char *id)
{
    for (guint i = 0; owner != NULL && i < owner->entries->len; i++) {
        Entry *entry = g_ptr_array_index(owner->entries, i);

        if (strcmp(entry->id, id) == 0)
            return entry;
    }
    return NULL;
}

static Entry *
need_entry(Owner *owner, const char *id)
{
    Entry *entry = find_entry(owner, id);

    if (entry != NULL)
        return entry;

    entry = g_new0(Entry, 1);
    entry->id = g_strdup(id);
    g_ptr_array_add(owner->entries, entry);
    return entry;
}

static void
replace(Credentials **where, Credentials *credentials)
{
    Credentials *before = *where;

    *where = credentials_ref(credentials);
    credentials_unref(before);
}

/* What a service can write is only read once, so it may as well block: nobody is served yet */
static void
read_key(Secrets *secrets, const char *directory)
{
    g_autofree char *path = g_build_filename(directory, KEY_NAME, NULL);
    g_autoptr(GError) error = NULL;
    char *content = NULL;
    gsize size = 0;

    if (!g_file_get_contents(path, &content, &size, &error)) {
        if (!g_error_matches(error, G_FILE_ERROR, G_FILE_ERROR_NOENT))
            secrets->key_problem = g_strdup(error->message);
        return;
    }

    if (size <= KEY_FILE_MAX)
        secrets->key = seal_key_new(content, size, &error);
    if (secrets->key == NULL)
        secrets->key_problem =
            g_strdup(error != NULL ? error->message : "The key is longer than 64 KiB");
    seal_free_data((guint8 *)content, size);
}

Secrets *
secrets_new(const char *credentials_dir)
{
    Secrets *secrets = g_new0(Secrets, 1);

    secrets->owners = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, owner_free);
    if (credentials_dir != NULL)
        read_key(secrets, credentials_dir);
    return secrets;
}

void
secrets_free(Secrets *secrets)
{
    if (secrets == NULL)
        return;

    g_hash_table_unref(secrets->owners);
    seal_key_free(secrets->key);
    g_free(secrets->key_problem);
    g_free(secrets->load_problem);
    g_free(secrets);
}

static const Owner *
find_owner(const Service *service, const char *owner)
{
    return g_hash_table_lookup(service->secrets->owners, owner);
}

Credentials *
secrets_find(const Service *service, const char *owner, const char *id)
{
    const Entry *entry = find_entry(find_owner(service, owner), id);

    return entry != NULL ? entry->now : NULL;
}

Credentials *
secrets_find_stored(const Service *service, const char *owner, const char *id)
{
    const Entry *entry = find_entry(find_owner(service, owner), id);

    return entry != NULL ? entry->stored : NULL;
}

const char *
secrets_find_problem(const Service *service, const char *owner)
{
    const Owner *found = find_owner(service, owner);

    if (found != NULL && found->problem != NULL)
        return found->problem;
    return service->secrets->load_problem;
}

static gboolean
is_same_secret(const char *one, const char *other)
{
    return other != NULL && strlen(one) == strlen(other) &&
           CRYPTO_memcmp(one, other, strlen(one)) == 0;
}

static gboolean
secrets_meet(const Credentials *a, const Credentials *b)
{
    for (guint i = 0; i < a->n_accounts; i++) {
        for (guint j = 0; j < b->n_accounts; j++) {
            if (is_same_secret(a->accounts[i].secret, b->accounts[j].mutual_secret))
                return TRUE;
        }
    }
    return FALSE;
}

/* @but: the entry that @credentials take the place of; NULL: none */
static gboolean
secrets_meet_owner(const Credentials *credentials, const Owner *owner, const char *but)
{
    for (guint i = 0; i < owner->entries->len; i++) {
        const Entry *entry = g_ptr_array_index(owner->entries, i);

        if (entry->now == NULL || (but != NULL && strcmp(entry->id, but) == 0))
            continue;
        if (secrets_meet(credentials, entry->now) || secrets_meet(entry->now, credentials))
            return TRUE;
    }
    return FALSE;
}

gboolean
secrets_check(const Service *service, const char *owner, const char *id,
              const Credentials *credentials, GError **ret_error)
{
    GHashTableIter iter;
    gpointer name, other;

    /* RFC 7143 9.2.1 has it of any initiator and any target, not only of one another */
    g_hash_table_iter_init(&iter, service->secrets->owners);
    while (g_hash_table_iter_next(&iter, &name, &other)) {
        if (!secrets_meet_owner(credentials, other, strcmp(name, owner) == 0 ? id : NULL))
            continue;
        g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                    "The CHAP secret is that of another account in the other direction: an "
                    "initiator could pretend to be the target");
        return FALSE;
    }
    return TRUE;
}

/*
 * The bytes of a file: one record an account, of N_TEXTS texts, each with a zero behind it
 */

static gsize
text_size(const char *text)
{
    return (text != NULL ? strlen(text) : 0) + 1;
}

static void
record_texts(const char *id, const CredentialsAccount *account, const char *texts[N_TEXTS])
{
    texts[0] = id;
    texts[1] = account->user;
    texts[2] = account->secret;
    texts[3] = account->mutual_user;
    texts[4] = account->mutual_secret;
}

static gsize
records_size(const char *id, const Credentials *credentials)
{
    const char *texts[N_TEXTS];
    gsize size = 0;

    for (guint i = 0; i < credentials->n_accounts; i++) {
        record_texts(id, &credentials->accounts[i], texts);
        for (guint j = 0; j < N_TEXTS; j++)
            size += text_size(texts[j]);
    }
    return size;
}

static char *
put_records(char *place, const char *id, const Credentials *credentials)
{
    const char *texts[N_TEXTS];

    for (guint i = 0; i < credentials->n_accounts; i++) {
        record_texts(id, &credentials->accounts[i], texts);
        for (guint j = 0; j < N_TEXTS; j++)
            place = stpcpy(place, texts[j] != NULL ? texts[j] : "") + 1;
    }
    return place;
}

/* As stored, but with @credentials for @id; a @size of 0: there are none */
static guint8 *
encode(const Owner *owner, const char *id, const Credentials *credentials, gsize *ret_size)
{
    gsize size = credentials != NULL ? records_size(id, credentials) : 0;
    char *data;
    char *place;

    for (guint i = 0; owner != NULL && i < owner->entries->len; i++) {
        const Entry *entry = g_ptr_array_index(owner->entries, i);

        if (entry->stored != NULL && strcmp(entry->id, id) != 0)
            size += records_size(entry->id, entry->stored);
    }
    data = place = g_malloc0(size + 1);
    for (guint i = 0; owner != NULL && i < owner->entries->len; i++) {
        const Entry *entry = g_ptr_array_index(owner->entries, i);

        if (entry->stored != NULL && strcmp(entry->id, id) != 0)
            place = put_records(place, entry->id, entry->stored);
    }
    if (credentials != NULL)
        (void)put_records(place, id, credentials);
    *ret_size = size;
    return (guint8 *)data;
}

/* The next text of @data, which ends at @end; NULL: it is cut off */
static const char *
take_text(const char **data, const char *end)
{
    const char *text = *data;
    gsize size = strnlen(text, (gsize)(end - text));

    if (text + size >= end)
        return NULL;

    *data = text + size + 1;
    return text;
}

static gboolean
decode_record(Owner *owner, const char **data, const char *end, GError **ret_error)
{
    const char *texts[N_TEXTS];
    g_autoptr(Credentials) credentials = NULL;
    CredentialsAccount account;
    Entry *entry;

    for (guint i = 0; i < N_TEXTS; i++) {
        texts[i] = take_text(data, end);
        if (texts[i] == NULL) {
            g_set_error_literal(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_INVALID_ARGUMENT,
                                "It is cut off");
            return FALSE;
        }
    }

    account = (CredentialsAccount){
        .user = texts[1],
        .secret = texts[2],
        .mutual_user = texts[3][0] != '\0' ? texts[3] : NULL,
        .mutual_secret = texts[4][0] != '\0' ? texts[4] : NULL,
    };
    entry = need_entry(owner, texts[0]);
    credentials = credentials_with(entry->stored, &account, ret_error);
    if (credentials == NULL)
        return FALSE;

    replace(&entry->now, credentials);
    replace(&entry->stored, credentials);
    return TRUE;
}

static gboolean
decode(Owner *owner, const guint8 *data, gsize size, GError **ret_error)
{
    const char *place = (const char *)data;
    const char *end = place + size;

    while (place < end) {
        if (!decode_record(owner, &place, end, ret_error))
            return FALSE;
    }
    return TRUE;
}

/* What the file of @owner holds with @credentials for @id; NULL without error: there is to be none */
static char *
make_text(const Service *service, const char *name, const char *id, const Credentials *credentials,
          GError **ret_error)
{
    gsize size;
    guint8 *data = encode(find_owner(service, name), id, credentials, &size);
    char *text = NULL;

    if (size > 0)
        text = seal_close(service->secrets->key, name, data, size, ret_error);
    seal_free_data(data, size);
    return text;
}

/*
 * Loading
 */

static void
set_sealed(Service *service, Owner *owner, const GError *error)
{
    gboolean had_problem = owner->seal_problem != NULL;

    owner->is_plain = error != NULL;
    g_free(owner->seal_problem);
    owner->seal_problem = error != NULL ? g_strdup(error->message) : NULL;
    if (had_problem || error != NULL)
        secrets_describe(service);
}

static void
on_sealed(const GError *error, gpointer data)
{
    Sealing *sealing = data;
    Owner *owner = g_hash_table_lookup(sealing->service->secrets->owners, sealing->name);

    if (error != NULL)
        operation_report_save_failure(error);
    if (owner != NULL)
        set_sealed(sealing->service, owner, error);
    g_free(sealing->name);
    g_free(sealing);
}

/* What was written without a key is written again with one */
static void
seal_again(Service *service, const char *name, Owner *owner)
{
    g_autoptr(GError) error = NULL;
    char *text = make_text(service, name, "\n", NULL, &error);
    Sealing *sealing;

    if (error != NULL)
        set_sealed(service, owner, error);
    if (text == NULL)
        return;

    sealing = g_new0(Sealing, 1);
    *sealing = (Sealing){ .service = service, .name = g_strdup(name) };
    store_save_record(service->store, STORE_SECRETS, name, text, on_sealed, sealing);
}

void
secrets_seal(Service *service)
{
    GHashTableIter iter;
    gpointer name, value;

    g_hash_table_iter_init(&iter, service->secrets->owners);
    while (g_hash_table_iter_next(&iter, &name, &value)) {
        Owner *owner = value;

        if (owner->seal_problem != NULL)
            seal_again(service, name, owner);
    }
}

static void
take_file(Service *service, const StoreEntry *file)
{
    Owner *owner = need_owner(service->secrets, file->name);
    g_autoptr(GError) error = NULL;
    guint8 *data = NULL;
    gsize size = 0;

    if (file->error != NULL)
        error = g_error_copy(file->error);
    else
        data = seal_open(service->secrets->key, file->name, file->text, &size, &owner->is_plain,
                         &error);
    if (data != NULL)
        (void)decode(owner, data, size, &error);
    seal_free_data(data, size);

    if (error != NULL) {
        owner->problem = g_strdup(error->message);
        g_ptr_array_set_size(owner->entries, 0);
        configure_report(file->path, error->message);
    } else if (owner->is_plain && service->secrets->key != NULL) {
        seal_again(service, file->name, owner);
    }
}

static void
on_loaded(GPtrArray *entries, const GError *error, gpointer data)
{
    Service *service = data;

    /* Else the next change of an account would write over others */
    if (error != NULL) {
        service->secrets->load_problem = g_strdup(error->message);
        operation_report_save_failure(error);
    }
    for (guint i = 0; i < entries->len; i++) {
        const StoreEntry *file = g_ptr_array_index(entries, i);

        if (file->name != NULL)
            take_file(service, file);
    }
}

void
secrets_load(Service *service)
{
    store_load_records(service->store, STORE_SECRETS, on_loaded, service);
}

/*
 * Changes
 */

void
secrets_save(Operation *operation, const char *owner, const char *id, Credentials *credentials,
             OperationFn next)
{
    Service *service = operation->service;
    const char *problem = service->secrets->key_problem;
    GError *error = NULL;
    char *text = NULL;

    /* Who has given a key does not want to find secrets on the disk because it is too short */
    if (credentials != NULL && problem != NULL)
        g_set_error(&error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR,
                    "The key of secrets cannot be used, and without it nothing is stored: %s",
                    problem);
    else
        text = make_text(service, owner, id, credentials, &error);

    if (error != NULL)
        operation_fail(operation, error);
    else
        operation_save_record(operation, STORE_SECRETS, owner, text, next);
}

/* Where there is nothing any more no entry is */
static void
drop_if_empty(Owner *owner, Entry *entry)
{
    if (entry->now == NULL && entry->stored == NULL)
        (void)g_ptr_array_remove(owner->entries, entry);
}

void
secrets_set(Service *service, const char *owner, const char *id, Credentials *credentials)
{
    Owner *found = need_owner(service->secrets, owner);
    Entry *entry = need_entry(found, id);

    replace(&entry->now, credentials);
    drop_if_empty(found, entry);
}

void
secrets_set_stored(Service *service, const char *owner, const char *id, Credentials *credentials)
{
    Owner *found = need_owner(service->secrets, owner);
    Entry *entry = need_entry(found, id);

    replace(&entry->stored, credentials);
    found->is_plain = service->secrets->key == NULL;
    g_clear_pointer(&found->seal_problem, g_free);
    drop_if_empty(found, entry);
}

static void
on_forgotten(const GError *error, gpointer data)
{
    if (error != NULL)
        operation_report_save_failure(error);
}

void
secrets_forget(Service *service, const char *owner, gboolean keeps)
{
    gboolean was_there;

    if (keeps)
        return;

    was_there = g_hash_table_remove(service->secrets->owners, owner);
    if (was_there && service->state_dir != NULL)
        store_save_record(service->store, STORE_SECRETS, owner, NULL, on_forgotten, NULL);
}

/*
 * What the model says
 */

static void
describe_account(const Service *service, const char *owner, const char *id, ModelAccount *account,
                 gboolean *ret_changed)
{
    const Credentials *credentials = secrets_find(service, owner, id);
    guint n = credentials != NULL ? credentials->n_accounts : 0;
    g_autofree const char **users = g_new0(const char *, n + 1);
    g_autofree const char **mutual_users = g_new0(const char *, n + 1);

    for (guint i = 0; i < n; i++) {
        const char *mutual = credentials->accounts[i].mutual_user;

        users[i] = credentials->accounts[i].user;
        mutual_users[i] = mutual != NULL ? mutual : "";
    }
    if (model_set_account(account, users, mutual_users))
        *ret_changed = TRUE;
}

static gboolean
lacks_account(const Service *service, const char *owner, const char *id, const char *method)
{
    return strcmp(method, "CHAP") == 0 && secrets_find(service, owner, id) == NULL;
}

static void
set_missing(const char *name, const char *cure, GError **ret_error)
{
    g_set_error(ret_error, LUNPORT_ERROR, LUNPORT_ERROR_NO_SUCH_OBJECT,
                "CHAP is asked of %s and no secret is set, so nobody gets in by it: %s", name,
                cure);
}

/* The first thing that keeps people out of @target */
static GError *
find_trouble(const Service *service, const ModelTarget *target)
{
    const char *name = target->spec->name;
    const char *problem = secrets_find_problem(service, name);
    GError *error = NULL;

    if (problem != NULL) {
        g_set_error(&error, LUNPORT_ERROR, LUNPORT_ERROR_STORAGE_ERROR,
                    "The file of its secrets cannot be used, so nobody gets in by them: %s",
                    problem);
        return error;
    }
    if (lacks_account(service, name, SECRETS_OWN, target->spec->authentication)) {
        g_autofree char *cure =
            g_strdup_printf("lunctl target auth %s chap --chap-user=USER", name);

        set_missing("initiators", cure, &error);
    }
    for (guint i = 0; i < target->spec->acls->len && error == NULL; i++) {
        const AclSpec *acl = g_ptr_array_index(target->spec->acls, i);
        g_autofree char *id = acl_spec_dup_name(acl);
        g_autofree char *cure = g_strdup_printf("lunctl access secret %s %s", name, id);

        if (lacks_account(service, name, id, acl->authentication))
            set_missing(id, cure, &error);
    }
    return error;
}

static void
describe_target(Service *service, ModelTarget *target, GPtrArray *problems)
{
    const char *name = target->spec->name;
    g_autoptr(GError) error = find_trouble(service, target);
    gboolean changed = model_set_error(&target->error, error);

    describe_account(service, name, SECRETS_OWN, &target->account, &changed);
    for (guint i = 0; i < target->acls->len; i++) {
        ModelAcl *acl = g_ptr_array_index(target->acls, i);
        gboolean acl_changed = FALSE;

        describe_account(service, name, acl->name, &acl->account, &acl_changed);
        if (acl_changed)
            model_changed(service->model, MODEL_ACL, acl);
    }
    if (changed)
        model_changed(service->model, MODEL_TARGET, target);
    if (error != NULL)
        g_ptr_array_add(problems, g_strdup_printf("Target %s: %s", name, error->message));
}

static gboolean
any_is_plain(const Service *service)
{
    GHashTableIter iter;
    gpointer value;

    g_hash_table_iter_init(&iter, service->secrets->owners);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Owner *owner = value;

        for (guint i = 0; owner->is_plain && i < owner->entries->len; i++) {
            if (((const Entry *)g_ptr_array_index(owner->entries, i))->stored != NULL)
                return TRUE;
        }
    }
    return FALSE;
}

static void
describe_unsealed(const Secrets *secrets, GPtrArray *problems)
{
    GHashTableIter iter;
    gpointer name, value;

    g_hash_table_iter_init(&iter, secrets->owners);
    while (g_hash_table_iter_next(&iter, &name, &value)) {
        const Owner *owner = value;

        if (owner->seal_problem != NULL)
            g_ptr_array_add(
                problems, g_strdup_printf("The CHAP secrets of %s are stored unencrypted, because "
                                          "their file could not be written again: %s",
                                          (const char *)name, owner->seal_problem));
    }
}

static void
describe_storage(Service *service, GPtrArray *problems)
{
    Secrets *secrets = service->secrets;

    if (secrets->key_problem != NULL)
        g_ptr_array_add(problems, g_strdup_printf("The key of secrets cannot be used: %s",
                                                  secrets->key_problem));
    describe_unsealed(secrets, problems);
    if (service->state_dir == NULL || secrets->key != NULL || !any_is_plain(service))
        return;

    g_ptr_array_add(problems, g_strdup("CHAP secrets are stored unencrypted, because there is no "
                                       "credential lunport.key: see lunportd(8)"));
    if (!secrets->told_plain)
        log_event(EVENT_SECRETS_PLAIN, NULL);
    secrets->told_plain = TRUE;
}

static void
describe_discovery(Service *service, GPtrArray *problems)
{
    const char *problem = secrets_find_problem(service, SECRETS_DISCOVERY);
    Model *model = service->model;
    gboolean changed = FALSE;

    describe_account(service, SECRETS_DISCOVERY, SECRETS_OWN, &model->discovery_account, &changed);
    if (changed)
        model_changed(model, MODEL_SERVICE, model);
    if (problem != NULL)
        g_ptr_array_add(problems,
                        g_strdup_printf("The secrets of discovery cannot be used: %s", problem));
    else if (lacks_account(service, SECRETS_DISCOVERY, SECRETS_OWN,
                           model->settings->discovery_authentication))
        g_ptr_array_add(problems,
                        g_strdup("CHAP is asked at discovery and no secret is set, so it is "
                                 "refused: lunctl discovery auth chap --chap-user=USER"));
}

void
secrets_describe(Service *service)
{
    g_autoptr(GPtrArray) problems = g_ptr_array_new();
    const GPtrArray *targets = service->model->targets;

    describe_storage(service, problems);
    describe_discovery(service, problems);
    for (guint i = 0; i < targets->len; i++)
        describe_target(service, g_ptr_array_index(targets, i), problems);
    g_ptr_array_add(problems, NULL);
    model_set_problems(service->model,
                       (char **)g_ptr_array_free(g_steal_pointer(&problems), FALSE));
}
