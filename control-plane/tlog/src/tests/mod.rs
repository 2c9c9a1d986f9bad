mod note;
mod notice;
mod tree;
