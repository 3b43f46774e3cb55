alter table task add column callback_url text;
